"""A recipe by its name, or one's own by file and function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from longtail.errors import LongtailError, unknown
from longtail.training.recipes import baselines, cosines, second_stage, systems
from longtail.training.stage import Recipe

RecipeFunction = Callable[..., Recipe]
"""Class counts and a setting, then the method's own numbers by name -> a way to train."""

RECIPES: dict[str, RecipeFunction] = {
    recipe.__name__: recipe for room in (baselines, cosines, second_stage, systems) for recipe in room.RECIPES
}


def find_recipe(name: str) -> RecipeFunction:
    """A recipe by its name here, or one's own as `FILE.py:function`.

    Raises:
        LongtailError: there is no such recipe, file or function.
    """
    if ":" in name:
        return _own_recipe(name)
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def _own_recipe(name: str) -> RecipeFunction:
    """The function of a user's own file, which is run: it is code that she wrote or chose."""
    from importlib.util import module_from_spec, spec_from_file_location

    file, _, function = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise LongtailError(f"There is no file {file!r} for the recipe {name!r}; write it as FILE.py:function.")
    spec = spec_from_file_location(f"_own_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise LongtailError(f"{file!r} is not a Python file; write the recipe as FILE.py:function.")
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses in the file look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever stands in the file
        raise LongtailError(f"{file!r} cannot be run as a recipe: {type(error).__name__}: {error}.") from error
    recipe = getattr(module, function, None)
    if not callable(recipe):
        raise LongtailError(f"{file!r} has no function {function!r}; a recipe takes (counts, setting).")
    return recipe  # type: ignore[no-any-return]
