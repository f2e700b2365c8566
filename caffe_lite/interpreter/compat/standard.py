"""Python's own modules and their names: those of Python 2 in scripts that Python 3 can read, and dropped ones."""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from .names import Stand, give_modules, give_names, missing, missing_modules

_MODULES = {
    "__builtin__": "builtins",
    "ConfigParser": "configparser",
    "HTMLParser": "html.parser",
    "Queue": "queue",
    "StringIO": f"{__package__}.string_io",
    "cPickle": "pickle",
    "cStringIO": f"{__package__}.string_io",
    "commands": "subprocess",
    "copy_reg": "copyreg",
    "httplib": "http.client",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
    "xml.etree.cElementTree": "xml.etree.ElementTree",
}


_ArgSpec = namedtuple("_ArgSpec", "args varargs keywords defaults")


def _getargspec(function: Callable[..., Any]) -> Any:
    """inspect.getfullargspec(f)."""
    import inspect

    return _ArgSpec(*inspect.getfullargspec(function)[:4])


_NAMES: dict[str, dict[str, Stand]] = {
    "base64": {"encodestring": "base64.encodebytes", "decodestring": "base64.decodebytes"},
    "cgi": {"escape": "html.escape"},
    "collections": {
        name: f"collections.abc.{name}"
        for name in (
            *("Callable", "Container", "Hashable", "ItemsView", "Iterable", "Iterator", "KeysView", "Mapping"),
            *(
                "MappingView",
                "MutableMapping",
                "MutableSequence",
                "MutableSet",
                "Sequence",
                "Set",
                "Sized",
                "ValuesView",
            ),
        )
    },
    "fractions": {"gcd": "math.gcd"},
    "inspect": {"getargspec": _getargspec},
    "itertools": {
        "ifilter": "builtins.filter",
        "imap": "builtins.map",
        "izip": "builtins.zip",
        "izip_longest": "itertools.zip_longest",
    },
    "os": {"errno": "errno", "getcwdu": "os.getcwd"},
    "string": {
        "letters": "string.ascii_letters",
        "lowercase": "string.ascii_lowercase",
        "maketrans": "builtins.str.maketrans",
        "uppercase": "string.ascii_uppercase",
    },
    "sys": {"maxint": "sys.maxsize"},
    "time": {"clock": "time.perf_counter" if sys.platform == "win32" else "time.process_time"},
    "urllib": {
        "quote": "urllib.parse.quote",
        "unquote": "urllib.parse.unquote",
        "urlencode": "urllib.parse.urlencode",
        "urlopen": "urllib.request.urlopen",
        "urlretrieve": "urllib.request.urlretrieve",
    },
}

PREVENTED = (
    *missing_modules(_MODULES),
    *(pattern for module, names in _NAMES.items() for pattern in missing(module, names)),
)


def install() -> None:
    give_modules(_MODULES)
    for module, names in _NAMES.items():
        give_names(module, names)
