"""ParVts.Native from Python: vision-language models with visual-token schedules inside the decoder.

One file over the C library (include/parvts.h), with nothing but the standard library; where NumPy is there, pictures may be
arrays and logits come as one.

    import parvts
    with parvts.Library("artifacts/native/libparvts.so") as library, library.open("path/to/llava-1.5-7b-hf") as engine:
        image = engine.image("cat.jpg")
        with engine.session("parvts:keep=64") as session:
            for piece in session.stream(engine.prompt("What is on the sofa?", image), max_tokens=64):
                print(piece, end="", flush=True)
"""

from __future__ import annotations

import ctypes
import json
import os
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

try:
    import numpy
except ImportError:
    numpy = None

API_VERSION = 1
TOO_SMALL = 3

STATUSES = (
    "ok", "invalid argument", "bad handle", "too small", "bad file", "bad request", "no memory", "no device", "device failed", "busy",
    "cancelled", "forked", "unsupported", "internal",
)


class Error(Exception):
    """A call failed. status is one of STATUSES, hint says what to do (it may be empty)."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.status = STATUSES[status] if 0 <= status < len(STATUSES) else str(status)
        self.message = message
        self.hint = hint


class _Error(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("status", ctypes.c_int32),
        ("message", ctypes.c_char * 1024),
        ("hint", ctypes.c_char * 512),
    ]


_text_callback = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)
_log_callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
_logits_callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_float), ctypes.c_size_t)
_policy_callback = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_float),
    ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t)

_handle = ctypes.c_uint64
_out = ctypes.POINTER(ctypes.c_uint64)
_text = ctypes.c_char_p
_room = (ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t))
_user = ctypes.c_void_p
_struct = ctypes.c_void_p  # a pv_tensor, pv_kv_layer or pv_attention_plan

# The table of include/parvts.h, member by member; every call returns a status and takes an error object last.
_FUNCTIONS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("info", _room),
    ("options_create", (_text, _out)),
    ("options_set_text", (_handle, _text, _text)),
    ("options_set_int", (_handle, _text, ctypes.c_int64)),
    ("options_set_real", (_handle, _text, ctypes.c_double)),
    ("options_set_log", (_handle, _log_callback, _user)),
    ("options_close", (_handle,)),
    ("engine_open", (_text, _handle, _out)),
    ("engine_info", (_handle, *_room)),
    ("engine_close", (_handle,)),
    ("tokenize", (_handle, _text, *_room)),
    ("detokenize", (_handle, ctypes.c_void_p, ctypes.c_size_t, *_room)),
    ("image_load", (_handle, _text, _text, _out)),
    ("image_decode", (_handle, ctypes.c_void_p, ctypes.c_size_t, _text, _out)),
    ("image_pixels", (_handle, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, _text, _out)),
    ("image_close", (_handle,)),
    ("prompt_create", (_handle, _text, _out)),
    ("prompt_add_text", (_handle, _text, _text)),
    ("prompt_add_image", (_handle, _text, _handle)),
    ("prompt_set_tokens", (_handle, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)),
    ("prompt_tokens", (_handle, *_room)),
    ("prompt_close", (_handle,)),
    ("session_open", (_handle, _text, _out)),
    ("session_set_policy", (_handle, _text)),
    ("session_set_policy_callback", (_handle, _policy_callback, _user, ctypes.c_int32)),
    ("session_reset", (_handle,)),
    ("session_cancel", (_handle,)),
    ("session_kv_lengths", (_handle, *_room)),
    ("session_info", (_handle, *_room)),
    ("session_close", (_handle,)),
    ("generate", (_handle, _handle, _handle, _text_callback, _user, _out)),
    ("stream_open", (_handle, _handle, _handle, _out)),
    ("stream_next", (_handle, *_room)),
    ("stream_result", (_handle, _out)),
    ("stream_close", (_handle,)),
    ("result_text", (_handle, *_room)),
    ("result_tokens", (_handle, *_room)),
    ("result_logits", (_handle, *_room)),
    ("result_info", (_handle, *_room)),
    ("result_close", (_handle,)),
    ("image_embeddings", (_handle, ctypes.c_void_p, ctypes.c_size_t, _out)),
    ("session_set_keep_list", (_handle, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32)),
    ("session_set_logits", (_handle, _logits_callback, _user)),
    ("session_plan", (_handle, _handle, _handle, *_room)),
    ("session_save", (_handle, _text)),
    ("session_restore", (_handle, _text)),
    ("result_log_probabilities", (_handle, *_room)),
    ("result_alternatives", (_handle, ctypes.c_int32, ctypes.c_void_p, *_room)),
    ("result_hidden", (_handle, ctypes.c_int32, *_room)),
    ("result_hidden_rows", (_handle, ctypes.c_int32, ctypes.c_void_p, *_room)),
    ("kernels_open", (_text, ctypes.c_void_p, ctypes.c_void_p, _handle, _out)),
    ("kernels_close", (_handle,)),
    ("plan_create", (_struct, _out)),
    ("plan_close", (_handle,)),
    ("segment_attention", (_handle, _struct, _struct, _handle, ctypes.c_float, _struct, _struct)),
    ("decode_attention", (_handle, _struct, _struct, ctypes.c_float, _struct)),
    ("probe", (_handle, _struct, _struct, _handle, ctypes.c_float, _struct, _struct, ctypes.c_int32, _struct)),
    ("pre_probe", (_handle, _struct, _struct, _handle, ctypes.c_float, _struct, ctypes.c_int32, _struct)),
    ("value_probe", (_handle, _struct, _struct, _struct, _handle, ctypes.c_float, _struct, _struct, _struct, _struct)),
    ("path_weights", (_handle, _struct, _struct, _struct, _struct)),
    ("fuse_paths", (_handle, _struct, _struct, _struct, _struct)),
)


class _Api(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("version", ctypes.c_uint32)] + [
        (name, ctypes.CFUNCTYPE(ctypes.c_int32, *arguments, ctypes.POINTER(_Error))) for name, arguments in _FUNCTIONS
    ]


class Library:
    """The C library, loaded once; any thread."""

    def __init__(self, path: str | os.PathLike[str] = "libparvts.so") -> None:
        """Loads it. OSError where it is not there, Error where this processor or the version does not fit."""
        load = ctypes.CDLL(os.fspath(path)).parvts_get_api
        load.restype = ctypes.c_int32
        load.argtypes = [ctypes.c_uint32, ctypes.POINTER(ctypes.POINTER(_Api)), ctypes.POINTER(_Error)]
        table = ctypes.POINTER(_Api)()
        error = _Error(struct_size=ctypes.sizeof(_Error))
        _check(load(API_VERSION, ctypes.byref(table), ctypes.byref(error)), error)
        self._api = table.contents

    def __enter__(self) -> Library:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: types.TracebackType | None) -> None:
        """The library stays loaded: its runtime cannot be unloaded."""

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the table by name; Error where it fails."""
        error = _Error(struct_size=ctypes.sizeof(_Error))
        _check(getattr(self._api, name)(*arguments, ctypes.byref(error)), error)

    def make(self, name: str, *arguments: Any) -> int:
        """The same for a call that hands out a handle, its last argument."""
        handle = ctypes.c_uint64()
        self.call(name, *arguments, ctypes.byref(handle))
        return handle.value

    def array(self, name: str, element: Any, *arguments: Any) -> Any:
        """The same for a call that hands out elements: asked for their number first."""
        count = ctypes.c_size_t()
        error = _Error(struct_size=ctypes.sizeof(_Error))
        status = getattr(self._api, name)(*arguments, None, 0, ctypes.byref(count), ctypes.byref(error))
        if status != TOO_SMALL:
            _check(status, error)
        values = (element * count.value)()
        self.call(name, *arguments, values, count.value, ctypes.byref(count))
        return values

    def text(self, name: str, *arguments: Any) -> str:
        """The same for a text."""
        return bytes(self.array(name, ctypes.c_char, *arguments)).decode()

    @property
    def info(self) -> dict[str, Any]:
        """Version, runtime, vector bits."""
        return json.loads(self.text("info"))

    def open(self, directory: str | os.PathLike[str], *, warning: Callable[[str], None] | None = None, **options: str | int) -> Engine:
        """Opens a model: a folder in Hugging Face's form. Options: device, threads, map, memory_cap."""
        return Engine(self, directory, warning, options)

    def options(self, kind: str, values: dict[str, Any]) -> int:
        """Options of a kind; lists are set element by element."""
        handle = self.make("options_create", kind.encode())
        try:
            for name, value in values.items():
                for one in value if isinstance(value, (list, tuple)) else [value]:
                    self._set(handle, name.encode(), one)
        except Error:
            self.call("options_close", handle)
            raise
        return handle

    def _set(self, handle: int, name: bytes, value: str | float) -> None:
        if isinstance(value, str):
            self.call("options_set_text", handle, name, value.encode())
        elif isinstance(value, int):
            self.call("options_set_int", handle, name, int(value))
        else:
            self.call("options_set_real", handle, name, float(value))


class _Handle:
    """What has a handle; closed by `with`, by close(), or when nobody holds it any more."""

    _close = ""

    def __init__(self, library: Library, handle: int) -> None:
        self._library = library
        self._number = handle

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: types.TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Gives it back; a second time does nothing."""
        number, self._number = getattr(self, "_number", 0), 0
        if number:
            self._library.call(self._close, number)


class Engine(_Handle):
    """A model; any thread."""

    _close = "engine_close"

    def __init__(
        self, library: Library, directory: str | os.PathLike[str], warning: Callable[[str], None] | None, options: dict[str, Any]
    ) -> None:
        handle = library.options("engine", options)
        try:
            # Held as long as the engine: the library calls it whenever it has something to say.
            self._log = _log_callback(lambda _, message: warning(message.decode())) if warning else _log_callback()
            library.call("options_set_log", handle, self._log, None)
            super().__init__(library, library.make("engine_open", os.fspath(directory).encode(), handle))
        finally:
            library.call("options_close", handle)

    @property
    def info(self) -> dict[str, Any]:
        """Device, layers, hidden, vocabulary, context, visual tokens a picture."""
        return json.loads(self._library.text("engine_info", self._number))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text."""
        return list(self._library.array("tokenize", ctypes.c_int32, self._number, text.encode()))

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of token ids."""
        return self._library.text("detokenize", self._number, (ctypes.c_int32 * len(tokens))(*tokens), len(tokens))

    def image(self, source: str | os.PathLike[str] | bytes | Any, aspect: str | None = None) -> Image:
        """A picture: a file's path, its bytes, or RGB pixels [height, width, 3] of 8 bits as a NumPy array."""
        how = aspect.encode() if aspect else None
        if isinstance(source, (str, os.PathLike)):
            handle = self._library.make("image_load", self._number, os.fspath(source).encode(), how)
        elif isinstance(source, bytes):
            handle = self._library.make("image_decode", self._number, source, len(source), how)
        else:
            if source.ndim != 3 or source.shape[2] != 3 or str(source.dtype) != "uint8":
                raise ValueError(f"pixels are [height, width, 3] of uint8, not {list(source.shape)} of {source.dtype}")
            pixels = numpy.ascontiguousarray(source)
            handle = self._library.make("image_pixels", self._number, pixels.ctypes.data, pixels.shape[1], pixels.shape[0], how)
        return Image(self._library, handle)

    def embeddings(self, rows: Any) -> Image:
        """A picture made by a tower of the host's: [visual tokens, hidden] float32, as a NumPy array or as one flat list."""
        if numpy is not None and isinstance(rows, numpy.ndarray):
            values = numpy.ascontiguousarray(rows, dtype=numpy.float32)
            return Image(self._library, self._library.make("image_embeddings", self._number, values.ctypes.data, values.size))
        return Image(self._library, self._library.make("image_embeddings", self._number, (ctypes.c_float * len(rows))(*rows), len(rows)))

    def prompt(self, text: str, *images: Image, template: str | None = None) -> Prompt:
        """A question about pictures; Prompt.add goes on with a conversation."""
        prompt = Prompt(self._library, self._library.make("prompt_create", self._number, template.encode() if template else None))
        return prompt.add("user", *images, text)

    def session(self, policy: str = "dense") -> Session:
        """A KV cache under a policy."""
        return Session(self._library, self._library.make("session_open", self._number, policy.encode()))


class Image(_Handle):
    """A picture as the model takes it; may serve many prompts."""

    _close = "image_close"


class Prompt(_Handle):
    """A whole conversation."""

    _close = "prompt_close"

    def add(self, role: str, *parts: str | Image) -> Prompt:
        """Adds parts of a message: texts and pictures, in their order."""
        for part in parts:
            if isinstance(part, Image):
                self._library.call("prompt_add_image", self._number, role.encode(), part._number)
            else:
                self._library.call("prompt_add_text", self._number, role.encode(), part.encode())
        return self

    @property
    def tokens(self) -> list[int]:
        """The token ids that a run would take."""
        return list(self._library.array("prompt_tokens", ctypes.c_int32, self._number))


class Result(_Handle):
    """An answer that is complete."""

    _close = "result_close"

    @property
    def text(self) -> str:
        """The answer."""
        return self._library.text("result_text", self._number)

    @property
    def tokens(self) -> list[int]:
        """Its token ids."""
        return list(self._library.array("result_tokens", ctypes.c_int32, self._number))

    @property
    def info(self) -> dict[str, Any]:
        """Text, tokens, finish, counts, times, memory, trace."""
        return json.loads(self._library.text("result_info", self._number))

    @property
    def logits(self) -> Any:
        """Logits of the first new token (with keep_logits=1): a NumPy array where NumPy is there, else a list."""
        return self._numbers("result_logits")

    @property
    def log_probabilities(self) -> Any:
        """Of each new token (with log_probabilities=0 or more)."""
        return self._numbers("result_log_probabilities")

    def hidden(self, layer: int) -> Any:
        """The rows that entered a layer, one after the other (with hidden_layer=layer): [rows · hidden]."""
        return self._numbers("result_hidden", layer)

    def _numbers(self, name: str, *arguments: int) -> Any:
        values = self._library.array(name, ctypes.c_float, self._number, *arguments)
        return numpy.frombuffer(values, dtype=numpy.float32) if numpy else list(values)


class Session(_Handle):
    """A KV cache; one call at a time, but cancel from any thread."""

    _close = "session_close"

    def generate(self, prompt: Prompt, on_text: Callable[[str], object] | None = None, **options: Any) -> Result:
        """Answers; on_text gets the pieces as they come, and what it raises ends the answer and is raised here.

        Options: max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop, ignore_eos, keep_logits, deadline_ms,
        log_probabilities, hidden_layer (a list for several).
        """
        raised: list[BaseException] = []

        def hand(_: int | None, text: Any, size: int) -> int:
            try:
                on_text(ctypes.string_at(text, size).decode())
            except BaseException as error:  # noqa: BLE001: nothing may pass through C
                raised.append(error)
            return len(raised)

        callback = _text_callback(hand) if on_text else _text_callback()
        handle = self._library.options("generation", options)
        try:
            result = Result(self._library, self._library.make("generate", self._number, prompt._number, handle, callback, None))
        finally:
            self._library.call("options_close", handle)
        if raised:
            raise raised[0]
        return result

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[str]:
        """The pieces of an answer, pulled; leaving the loop early cancels the rest."""
        handle = self._library.options("generation", options)
        try:
            stream = self._library.make("stream_open", self._number, prompt._number, handle)
        finally:
            self._library.call("options_close", handle)
        try:
            while piece := self._library.text("stream_next", stream):
                yield piece
            Result(self._library, self._library.make("stream_result", stream)).close()
        finally:
            self._library.call("stream_close", stream)

    def set_policy(self, policy: str | Callable[[int, Sequence[int], Sequence[float]], Sequence[bool]], ask_scores: bool = False) -> None:
        """Another policy, by its string, or a function that says which visual tokens stay.

        It is called as keep(layer, tokens, scores) before every layer; scores are empty unless ask_scores. The cache is emptied.
        """
        if isinstance(policy, str):
            self._library.call("session_set_policy", self._number, policy.encode())
            return

        def decide(_: int | None, layer: int, layers: int, tokens: Any, scores: Any, keep: Any, count: int) -> int:
            try:
                stays = policy(layer, tokens[:count], scores[:count] if scores else [])
                for place, one in enumerate(stays):
                    keep[place] = bool(one)
            except BaseException:  # noqa: BLE001: nothing may pass through C
                return 1
            return 0

        callback = _policy_callback(decide)
        self._library.call("session_set_policy_callback", self._number, callback, None, int(ask_scores))
        self._policy = callback

    def keep(self, tokens: Sequence[int], layer: int = -1) -> None:
        """The visual tokens that stay from a layer on, −1 for before the decoder. The cache is emptied."""
        self._library.call("session_set_keep_list", self._number, (ctypes.c_int32 * len(tokens))(*tokens), len(tokens), layer)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the cache to a file."""
        self._library.call("session_save", self._number, os.fspath(path).encode())

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Takes up a cache that a session of the same model and policy saved."""
        self._library.call("session_restore", self._number, os.fspath(path).encode())

    def cancel(self) -> None:
        """Ends the call that is under way; any thread."""
        self._library.call("session_cancel", self._number)

    def reset(self) -> None:
        """Empties the cache."""
        self._library.call("session_reset", self._number)

    @property
    def kv_lengths(self) -> list[int]:
        """Rows in each layer's KV cache."""
        return list(self._library.array("session_kv_lengths", ctypes.c_int32, self._number))

    @property
    def info(self) -> dict[str, Any]:
        """Policy, cached tokens, KV bytes, trace."""
        return json.loads(self._library.text("session_info", self._number))


def _check(status: int, error: _Error) -> None:
    if status:
        raise Error(status, error.message.decode(errors="replace") or f"status {status}", error.hint.decode(errors="replace"))
