"""One file per claim: every file is found, and has one study in it."""

import inspect

import pytest

from copyfold import catalogue
from copyfold.studies import runner
from copyfold.studies.base import Study

MODULES = catalogue.modules(Study.home, deep=True)
FILES = [module for module in MODULES if not hasattr(module, "__path__")]


def studies(module):
    found = [cls for cls in vars(module).values() if inspect.isclass(cls) and issubclass(cls, Study)]
    return [cls for cls in found if cls.__module__ == module.__name__]


@pytest.mark.parametrize("module", FILES, ids=lambda module: module.__name__)
def test_a_file_has_one_study(module):
    assert len(studies(module)) == 1


def test_every_file_is_found():
    assert {studies(module)[0] for module in FILES} == {type(study) for study in runner.studies().values()}
    assert not [module for module in MODULES if module not in FILES and studies(module)]


def test_shared_modules_contain_no_claim():
    assert not [cls for cls in catalogue.members("copyfold.studies", deep=True).values() if _is_claim(cls)]


def _is_claim(cls):
    return inspect.isclass(cls) and issubclass(cls, Study) and cls is not Study
