"""Name to module: the whole plug-in mechanism.

`load("endpoints", "chat")` imports `genbench.endpoints.chat`. A path to a file of the user's (`mine/kind.py`) or
`package.module` / `package.module:attr` works in the same place.
"""

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import Any

from genbench.errors import ConfigError

PACKAGES = ("endpoints", "datasets", "arrivals", "importers", "exporters", "plots")


def names(package: str) -> list[str]:
    """The built-in names of one kind of plug-in."""
    module = importlib.import_module(f"genbench.{package}")
    return sorted(m.name for m in pkgutil.iter_modules(module.__path__) if not m.name.startswith("_"))


def first_line(package: str, name: str) -> str:
    """First docstring line of a built-in plug-in, for listings."""
    return (importlib.import_module(f"genbench.{package}.{name}").__doc__ or "").strip().splitlines()[0]


def load(package: str, name: str) -> Any:
    """The module (or the attribute after a colon) that `name` means.

    Raises ConfigError when there is no such name, file or module; the message lists the built-in names.
    """
    known = names(package)
    if name.replace("-", "_") in known:
        name = name.replace("-", "_")
        return importlib.import_module(f"genbench.{package}.{name}")
    spec, _, attr = name.partition(":")
    if spec.endswith(".py"):
        path = Path(spec)
        if not path.is_file():
            raise ConfigError(f"no file {spec}; give an existing .py file or one of {', '.join(known)}")
        module_spec = importlib.util.spec_from_file_location(f"genbench_user_{path.stem}", path)
        if module_spec is None or module_spec.loader is None:
            raise ConfigError(f"{spec} cannot be loaded as Python; give a .py file")
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[module_spec.name] = module
        try:
            module_spec.loader.exec_module(module)
        except Exception as error:  # a user's own code
            raise ConfigError(f"{spec} fails when it is loaded: {type(error).__name__}: {error}") from error
    elif "." in spec or attr:
        try:
            module = importlib.import_module(spec)
        except ImportError as error:
            raise ConfigError(
                f"cannot import {spec} ({error}); install it or give one of {', '.join(known)}"
            ) from error
    else:
        raise ConfigError(f"unknown name '{name}' in {package}; use one of {', '.join(known)}, a file or module:attr")
    if not attr:
        return module
    if not hasattr(module, attr):
        raise ConfigError(f"{spec} has no '{attr}'; check the name after the colon")
    return getattr(module, attr)
