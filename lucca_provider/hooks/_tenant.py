"""Reads the fields of an Airflow connection into a tenant that requests can be sent to."""

from __future__ import annotations

import difflib
import ipaddress
import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from lucca_provider.exceptions import LuccaConfigurationError
from lucca_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from lucca_provider.inputs.members import RepeatedNameError, unique_members

__all__ = [
    "DEFAULT_PORTS",
    "FIELDS_GUIDE",
    "RIGHTS_GUIDE",
    "TESTING_GUIDE",
    "Tenant",
    "connection_name",
    "field_label",
    "is_loopback",
]

log = logging.getLogger(__name__)

DEFAULT_REQUESTS_PER_MINUTE = 45
"""Of the 50 that Lucca allows all clients of a tenant together, so that others have some room."""
DEFAULT_WINDOW_SECONDS = 60.0
"""Length of Lucca's sliding window. The extra ``window_seconds`` shortens it for a sandbox that does the same."""
DEFAULT_TIMEOUT = 10.0
"""Seconds; longer than the 5 after which Lucca itself gives up, so that its own answer is heard."""
MAX_SHOWN = 100
"""Characters of a wrong value in a message."""

FIELDS_GUIDE = '(guide "Connection", Field by field)'
"""Where the docs explain an error about a field."""
TESTING_GUIDE = '(guide "Connection", Testing the connection)'
"""Where they explain what else may be wrong with a connection."""
RIGHTS_GUIDE = '(guide "Connection", The rights of the API key)'

DEFAULT_PORTS = {"https": 443, "http": 80}
"""Scheme to the port that an address without one means."""

EXTRAS = (*CONNECTION_FIELDS, "window_seconds")
"""Names of the extras that are read."""
_FORM_PREFIX = "extra__lucca__"
"""What Airflow 2 puts before the name of an extra in its form."""
LIKENESS = 0.75
"""How like one of :data:`EXTRAS` a name is, from 0 to 1, that can only be a typing error."""
_LIKE_OURS = {
    "timeout": re.compile("^timeout_"),
    "requests_per_minute": re.compile("requests_per_|per_min"),
    "allow_insecure_http": re.compile("^allow_http|insecure"),
}
"""What in a name shows that it is most likely meant for one of ours, however unlike the rest is."""
_AIRFLOWS_OWN = ("extra", "__extra__")
"""In the URI form, Airflow takes the second for all extras, if it stands alone, and the first for one of that name."""
_known_foreign: set[tuple[str | None, str]] = set()
"""Connections and extras of others that have been logged in this process."""
_KEY_PREFIX = re.compile(r"(?:authorization\s*:\s*)?lucca\s+application\s*=\s*", re.IGNORECASE)
_LIKE_A_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[a-f]*[0-9])[0-9a-f]{32}", re.IGNORECASE)
_HOST = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_ENVIRONMENTS = (
    ("production", re.compile(r"[^.]+\.ilucca\.(net|ch)")),
    ("test", re.compile(r"[^.]+\.ilucca-test\.(net|ch)")),
    ("demo", re.compile(r"[^.]+\.ilucca-demo\.(net|ch)")),
    ("sandbox", re.compile(r"[^.]+-[^.-]+\.sandbox\.(eu1|eu2|ch1)\.luccasoftware\.com")),
)


class _Connection(Protocol):
    @property
    def conn_id(self) -> str | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def port(self) -> int | None: ...
    @property
    def schema(self) -> str | None: ...
    @property
    def password(self) -> str | None: ...
    @property
    def extra(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Tenant:
    """
    One Lucca tenant and how to talk to it.

    :param conn_id: the Airflow connection that it was read from
    :param base_url: scheme, host and port, without a slash at the end
    :param host: host name or address without port, in lower case
    :param api_key: the key alone, never shown by ``repr``
    :param requests_per_minute: the share of the tenant's limit that a task may use
    :param window_seconds: length of the limit's sliding window, in which ``requests_per_minute`` requests may go out
    :param timeout: seconds to wait for a connection, and then for the whole answer
    """

    conn_id: str | None
    base_url: str
    host: str
    api_key: str = field(repr=False)
    requests_per_minute: int
    window_seconds: float
    timeout: float

    @classmethod
    def from_connection(cls, connection: _Connection, *, mask: Callable[[Any], object] = lambda secret: None) -> Tenant:
        """
        Read a connection.

        :param mask: told what is secret, in the form in which it is used
        :raises LuccaConfigurationError: naming the connection id and the field; nothing has been sent
        """
        reader = _Reader(connection, mask)
        del connection  # its repr has the password, and some tracebacks show local variables
        return reader.tenant()

    @property
    def environment(self) -> str:
        """``production``, ``test``, ``demo``, ``sandbox``, or ``other`` for a host that Lucca does not document."""
        return next((name for name, pattern in _ENVIRONMENTS if pattern.fullmatch(self.host)), "other")

    def error(self, field_name: str, problem: str) -> LuccaConfigurationError:
        """
        Return an error about a field of the connection.

        :param field_name: name of the field or extra in Airflow's connection
        :param problem: what is wrong and what to do
        """
        return _error(self.conn_id, field_name, problem)


def connection_name(conn_id: str | None) -> str:
    """
    Return what a connection is called within a sentence.

    :param conn_id: its id
    """
    return f"the connection {conn_id!r}" if conn_id else "the connection"


def field_label(name: str) -> str:
    """
    Return what a field is called in the form, which also says its name in a connection: ``Tenant (host)``.

    :param name: a field or an extra of the connection
    """
    if name in CONNECTION_FIELDS:
        return f"{CONNECTION_FIELDS[name]['label']} (extra {name})"
    if name in EXTRAS:
        return f"extra {name}"
    label = FIELD_BEHAVIOUR["relabeling"].get(name, name.capitalize())
    return label if "(" in label or label.lower() == name else f"{label} ({name})"


def _error(conn_id: str | None, field_name: str, problem: str) -> LuccaConfigurationError:
    what = f"Connection {conn_id!r}: {field_label(field_name)} {problem}"
    return LuccaConfigurationError(f"{what}. Nothing was sent {FIELDS_GUIDE}.")


class _Reader:
    def __init__(self, connection: _Connection, mask: Callable[[Any], object]) -> None:
        self._connection = connection
        self._mask = mask
        self._extra: dict[str, Any] = {}

    def tenant(self) -> Tenant:
        self._extra = self._read_extra()
        # What others keep in it may be secret, too.
        self._mask(self._extra)
        self._check_names()
        scheme, host, port = self._address()
        return Tenant(
            conn_id=self._connection.conn_id,
            base_url=f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}",
            host=host,
            api_key=self._api_key(),
            requests_per_minute=self._requests_per_minute(),
            window_seconds=self._seconds("window_seconds", DEFAULT_WINDOW_SECONDS),
            timeout=self._seconds("timeout", DEFAULT_TIMEOUT),
        )

    def _error(self, field_name: str, problem: str) -> LuccaConfigurationError:
        return _error(self._connection.conn_id, field_name, problem)

    def _read_extra(self) -> dict[str, Any]:
        # Airflow's own reading of it takes what is no JSON for nothing, and logs its text.
        try:
            extra = json.loads(self._connection.extra or "{}", object_pairs_hook=unique_members)
        except RepeatedNameError:
            problem = "gives an extra twice; leave one of them out"
        except (ValueError, RecursionError) as error:
            where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            problem = f"is not valid JSON{where}"
        else:
            if isinstance(extra, dict):
                return _without_prefix(extra)
            problem = "is JSON, but not an object; write it as {…}"
        # Not within the clause above: what is in it may be secret, and would go along as context.
        raise self._error("extra", problem)

    def _check_names(self) -> None:
        for name in self._extra:
            if name in EXTRAS:
                continue
            if name in _AIRFLOWS_OWN:
                raise self._error("extra", f"has the name {name!r}; give each extra by its own name")
            words = re.sub(r"(?<=[a-z])(?=[A-Z])|[-\s]", "_", name).lower()
            plain = re.sub(r"^extra__lucca__|[^a-z_]", "", words)
            close = [ours for ours, like in _LIKE_OURS.items() if like.search(plain)]
            if close := close or difflib.get_close_matches(plain, EXTRAS, n=1, cutoff=LIKENESS):
                raise self._error("extra", f"has {_shown(name)}, which is close to {close[0]}; correct the name")
            key = (self._connection.conn_id, name)
            if key not in _known_foreign:
                _known_foreign.add(key)
                log.info("Connection %r: extra %s is not used by this provider and is ignored.", key[0], _shown(name))

    def _address(self) -> tuple[str, str, int | None]:
        given = self._connection.host or ""
        if not given:
            raise self._error("host", "is empty; give the tenant, such as acme.ilucca.net")
        if "@" in given or _KEY_PREFIX.search(given) or _LIKE_A_KEY.search(given):
            # Not shown: what stands before an @ may be a password, and this may be the API key in the wrong field.
            raise self._error("host", "contains user info (something before an @) or a key; give the host name alone")
        if re.search(r"[\s\x00-\x1f\x7f]", given):
            raise self._error("host", f"{_shown(given)} contains white space; remove it")
        pasted_scheme, separator, rest = given.rpartition("://")
        host, pasted_port = self._host_and_port(given, f"[{rest}]" if _is_ipv6(rest) else rest)
        scheme = self._scheme(pasted_scheme if separator else None, host)
        port = self._port(pasted_port)
        return scheme, host, None if port == DEFAULT_PORTS[scheme] else port

    def _host_and_port(self, given: str, netloc: str) -> tuple[str, int | None]:
        try:
            url = urlsplit(f"//{netloc}")
            host, port = url.hostname or "", url.port
        except ValueError as error:
            problem = f"{_shown(given)} is not a host name ({error}); give one such as acme.ilucca.net"
            raise self._error("host", problem) from None
        if url.path not in ("", "/") or "?" in netloc or "#" in netloc:
            raise self._error("host", f"{_shown(given)} has a path, a query or a fragment; give the host name alone")
        if not (_is_ipv6(host) if "[" in netloc else _HOST.fullmatch(host)):
            raise self._error("host", f"{_shown(given)} is not a host name; give one such as acme.ilucca.net")
        return host, port

    def _scheme(self, pasted: str | None, host: str) -> str:
        schema = (self._connection.schema or "").strip().lower()
        if pasted is not None and schema and pasted.lower() != schema:
            given = f"is {_shown(schema)}, but {field_label('host')} starts with {pasted}://"
            raise self._error("schema", f"{given}; leave one of them out")
        scheme = schema or "https" if pasted is None else pasted.lower()
        if scheme not in DEFAULT_PORTS:
            raise self._error("schema", f"{_shown(scheme)} is neither https nor http; leave it empty for https")
        if scheme == "http":
            self._check_http(host)
        return scheme

    def _check_http(self, host: str) -> None:
        if not is_loopback(host) and not self._allow_insecure_http():
            raise self._error(
                "schema",
                "'http' would send the API key unencrypted; use https, or, for a test server only, set "
                f"{field_label('allow_insecure_http')} to true",
            )

    def _port(self, pasted: int | None) -> int | None:
        port = self._connection.port
        if port is not None and pasted is not None and port != pasted:
            given = f"is {port}, but {field_label('host')} ends with :{pasted}"
            raise self._error("port", f"{given}; leave one of them out")
        port = pasted if port is None else port
        if port is not None and not 1 <= port <= 65535:
            raise self._error("port", f"{port} is not from 1 to 65535")
        return port

    def _api_key(self) -> str:
        key = _KEY_PREFIX.sub("", self._connection.password or "", count=1)
        problem = None
        if not key:
            problem = "is empty; enter the API key that Lucca gave you"
        elif not re.fullmatch(r"[\x21-\x7e]+", key):
            problem = "contains white space, a control character or a letter outside ASCII; paste the API key alone"
        if problem:
            del key  # never shown, whatever is wrong with it
            raise self._error("password", problem)
        # Airflow masks the password as it stands; it may have been pasted with more than the key around it.
        self._mask(key)
        return key

    def _requests_per_minute(self) -> int:
        value = self._extra.get("requests_per_minute")
        if value is None or value == "":
            return DEFAULT_REQUESTS_PER_MINUTE
        number = _number(value)
        if number is None or number != int(number) or not 1 <= number <= 1_000_000:
            raise self._error("requests_per_minute", f"{_shown(value)} is not a whole number from 1 to 1000000")
        return int(number)

    def _seconds(self, name: str, default: float) -> float:
        value = self._extra.get(name)
        if value is None or value == "":
            return default
        number = _number(value)
        if number is None or not 0 < number <= 3600:
            raise self._error(name, f"{_shown(value)} is not a number of seconds above 0 and up to 3600")
        return number

    def _allow_insecure_http(self) -> bool:
        value = self._extra.get("allow_insecure_http")
        if value is None or value == "":
            return False
        text = str(value).strip().lower()
        # "y" is what the check box of Airflow 2.11 sends when the connection is tested.
        if text not in ("true", "false", "1", "0", "yes", "no", "y", "n"):
            raise self._error("allow_insecure_http", f"{_shown(value)} is neither true nor false")
        return text in ("true", "1", "yes", "y")


def _without_prefix(extra: dict[str, Any]) -> dict[str, Any]:
    """Return extras by their own names: the test of a connection on Airflow 2.11 sends each under two."""
    plain = {name.removeprefix(_FORM_PREFIX): value for name, value in extra.items() if _is_prefixed(name)}
    return plain | {name: value for name, value in extra.items() if not _is_prefixed(name)}


def _is_prefixed(name: str) -> bool:
    return name.startswith(_FORM_PREFIX) and name.removeprefix(_FORM_PREFIX) in EXTRAS


def _number(value: object) -> float | None:
    """Read a number of an extra: the URI form of a connection has only text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """
    Return whether a host is this machine, so that nothing sent to it leaves it.

    :param host: name or address
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(value: object) -> str:
    """Show what was given on one line, however long it is."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
