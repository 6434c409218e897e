"""Claims of the essay's section on overcomplete networks: do they learn the identity function?"""

SECTION = 'essay, "Overcomplete autoencoders do not learn the identity function"'
