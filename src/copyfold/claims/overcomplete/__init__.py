"""Of the essay's section on overcomplete networks: do they learn to copy whatever they are given?"""

SECTION = 'essay, "Overcomplete autoencoders do not learn the identity function"'
