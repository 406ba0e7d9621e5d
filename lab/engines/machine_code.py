"""The fleet's loop becomes machine code: numba compiles `inside/fleet/hot_loop.py`, and hosts need no compiler.

    hot_loop.py, the same text that the interpreter runs
      -> numba: LLVM's intermediate form; the calls of `hot_loop_calls.py` become calls of addresses that it is lent
      -> LLVM: an ELF object for any processor of this kind, position independent
      -> its code alone, a kilobyte: inside/fleet/__pycache__/hot_loop.<processor>.code

Images take the file up with the programs, namespaces find it where it lies; `inside/fleet/hot_loop_code.py` loads it.
The code may be copied anywhere because it has no relocations: it refers to no data, and to no function but by the
addresses that it is handed. That is checked here. Compiling takes a second or two, once, in a process of its own: the
lab's own process stays without numba.

Where it cannot be done nothing is lost but speed: the interpreter runs the same text. The fleet's result says which of
the two it was (`hot_loop`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import subprocess
import sys
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.engines import Say
from lab.inside.fleet import hot_loop, hot_loop_calls, hot_loop_code

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 120
"""A compiler that takes longer is given up."""
PROCESSORS = {"x86_64": "x86-64", "aarch64": "generic"}
"""What can be compiled for, as uname(2) has it, and what LLVM calls the least of its kind."""
CLOCK_MONOTONIC = 1
"""From <linux/time.h>: hosts are Linux wherever the lab runs."""
EVENT = {"x86_64": (12, 4), "aarch64": (16, 8)}
"""Bytes of a struct epoll_event, and where in it the descriptor is: <sys/epoll.h> packs it on x86-64 alone."""


def processor() -> str:
    """This machine's processor, as a Linux host on it has it: macOS says arm64."""
    machine = platform.machine()
    return "aarch64" if machine == "arm64" else machine


def ensure_hot_loop_code(say: Say) -> Path | None:
    """Compile the hot loop where that has not been done; returns the file, None where it cannot be made here."""
    file = Path(hot_loop_code.code_file(processor()))
    if _is_fresh(file):
        return file
    with contextlib.suppress(OSError):
        file.parent.mkdir(exist_ok=True)
    if processor() not in PROCESSORS or not os.access(file.parent, os.W_OK):
        return None
    say("compiling the fleet's loop for this machine, once (some seconds)")
    with contextlib.suppress(OSError, subprocess.SubprocessError), _alone(file.parent):
        if not _is_fresh(file):
            subprocess.run(
                [sys.executable, "-m", "lab.engines.machine_code"],
                check=True,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=BOUND_S,
            )
    if _is_fresh(file):
        return file
    say("it could not be compiled: the interpreter runs it, at half the speed")
    return None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Have other processes that want to compile wait until this one has."""
    with (folder / "hot_loop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _header() -> bytes:
    """Tell what the code is made of: its texts, this file, and the compiler, which the lock names."""
    maker = crc32((ROOT / "requirements.lock").read_bytes(), crc32(Path(__file__).read_bytes()))
    return hot_loop_code.HEADER.pack(hot_loop_code.MAGIC, hot_loop_code.sources_crc(), maker)


def _is_fresh(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(hot_loop_code.HEADER.size) == _header()
    except OSError:
        return False


def compile_hot_loop(machine: str) -> bytes:
    """The hot loop's code for a processor. Raises RuntimeError where what LLVM makes cannot be copied anywhere."""
    import numba
    from llvmlite import binding
    from numba import types

    _lend_calls(*EVENT[machine])
    numbers, memory = types.CPointer(types.int64), types.CPointer(types.uint8)
    signature = types.none(*[numbers] * 7, *[memory] * 4)
    # Whole numbers only, and no division: nothing in it raises, so nothing refers to Python.
    compile_by: Any = numba.njit
    compiled: Any = compile_by(
        signature, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(hot_loop.hot_loop)
    module = binding.parse_assembly(compiled.overloads[signature.args].library.get_llvm_str())
    if len([function for function in module.functions if not function.is_declaration]) != 1:
        raise RuntimeError("the hot loop's code is not one function")
    target = binding.Target.from_triple(f"{machine}-unknown-linux-gnu")
    emitter = target.create_target_machine(cpu=PROCESSORS[machine], opt=3, reloc="pic", codemodel="small")
    made = binding.ObjectFileRef.from_data(emitter.emit_object(module))
    sections: dict[bytes, bytes] = {section.name(): section.data() for section in made.sections()}
    if b".rel.text" in sections or b".rela.text" in sections:
        raise RuntimeError("the hot loop's code refers to something outside of itself")
    return sections[b".text"]


def _lend_calls(event_bytes: int, descriptor_at: int) -> None:
    """Tell numba what the calls of the loop are: the C library's functions, at the addresses in `calls`."""
    from numba.extending import overload

    epoll_wait = _function("epoll_wait", "int", "int", "pointer", "int", "int")
    read = _function("read", "long", "int", "pointer", "long")
    write = _function("write", "long", "int", "pointer", "long")
    memcmp = _function("memcmp", "int", "pointer", "pointer", "long")
    monotonic_ns, is_null = _monotonic_ns(), _is_null()

    # The outer function is asked by the types of the arguments, which are known here; the inner one is the code.
    overload(hot_loop_calls.wait)(lambda c, e, to, n, ms: lambda c, e, to, n, ms: epoll_wait(c, (e, to, n, ms)))
    overload(hot_loop_calls.read)(lambda c, fd, to, n: lambda c, fd, to, n: read(c, (fd, to, n)))
    overload(hot_loop_calls.write)(lambda c, fd, data, n: lambda c, fd, data, n: write(c, (fd, data, n)))
    overload(hot_loop_calls.same)(lambda c, a, b, n: lambda c, a, b, n: is_null(b) or memcmp(c, (a, b, n)) == 0)
    overload(hot_loop_calls.clock_ns)(lambda c: lambda c: monotonic_ns(c))

    @overload(hot_loop_calls.descriptor)
    def descriptor(events: Any, i: Any) -> Any:
        def code(events: Any, i: Any) -> Any:
            at = i * event_bytes + descriptor_at
            return events[at] | events[at + 1] << 8 | events[at + 2] << 16 | events[at + 3] << 24

        return code


def _function(name: str, gives: str, *takes: str) -> Any:
    """Return what numba compiles to a call of a function of the C library, from `calls` and a tuple of its arguments.

    It gives what the function gives as an int64, or the negated errno where that is less than 0.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    kinds = {"int": ir.IntType(32), "long": ir.IntType(64), "pointer": ir.IntType(8).as_pointer()}

    def write_code(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        calls, arguments = given[0], cgutils.unpack_tuple(builder, given[1])
        fitted = [
            builder.trunc(argument, kinds[kind]) if kind == "int" else argument
            for kind, argument in zip(takes, arguments, strict=True)
        ]
        returned = _call(builder, calls, name, kinds[gives], fitted)
        result = cgutils.alloca_once_value(builder, builder.sext(returned, kinds["long"]))
        if name != "memcmp":
            with builder.if_then(builder.icmp_signed("<", returned, kinds[gives](0)), likely=False):
                errno = builder.load(_call(builder, calls, "__errno_location", kinds["int"].as_pointer(), []))
                builder.store(builder.neg(builder.sext(errno, kinds["long"])), result)
        return builder.load(result)

    def called(_typing: Any, calls: Any, arguments: Any) -> Any:
        return types.int64(calls, arguments), write_code

    return intrinsic(called)


def _monotonic_ns() -> Any:
    """Return what numba compiles to clock_gettime(CLOCK_MONOTONIC) as nanoseconds, from `calls`."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    long = ir.IntType(64)

    def write_code(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        timespec = cgutils.alloca_once(builder, ir.ArrayType(long, 2))
        _call(builder, given[0], "clock_gettime", ir.IntType(32), [ir.IntType(32)(CLOCK_MONOTONIC), timespec])
        seconds, nanoseconds = cgutils.unpack_tuple(builder, builder.load(timespec))
        return builder.add(builder.mul(seconds, long(10**9)), nanoseconds)

    def called(_typing: Any, calls: Any) -> Any:
        return types.int64(calls), write_code

    return intrinsic(called)


def _is_null() -> Any:
    """Return what numba compiles to a look whether a pointer is null."""
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def called(_typing: Any, pointer: Any) -> Any:
        return types.boolean(pointer), lambda _c, builder, _s, given: cgutils.is_null(builder, given[0])

    return intrinsic(called)


def _call(builder: Any, calls: Any, name: str, gives: Any, arguments: list[Any]) -> Any:
    """Write a call of the function whose address stands at its name's place in `calls`."""
    from llvmlite import ir

    place = builder.gep(calls, [ir.IntType(64)(hot_loop_calls.FUNCTIONS.index(name))])
    kind = ir.FunctionType(gives, [argument.type for argument in arguments])
    return builder.call(builder.inttoptr(builder.load(place), kind.as_pointer()), arguments)


def _store() -> None:
    """Compile, and leave the code at its place, whole or not at all."""
    file = Path(hot_loop_code.code_file(processor()))
    partial = file.with_suffix(".partial")
    partial.write_bytes(_header() + compile_hot_loop(processor()))
    partial.replace(file)


if __name__ == "__main__":
    _store()
