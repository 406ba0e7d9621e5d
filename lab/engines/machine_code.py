"""Loops that run in hosts become machine code: numba compiles texts of `lab/inside`, and hosts need no compiler.

    inside/fleet/hot_loop.py, inside/ring_records.py, inside/servers/epoll_compiled_turn.py: texts that the interpreter
    can run as they stand
      -> numba: LLVM's intermediate form; what they call becomes calls of addresses that they are lent
      -> LLVM: an ELF object for any processor of this kind, position independent
      -> its code alone, a kilobyte each: __pycache__/<text>.<processor>.code beside the text

Images take these files up with the programs, namespaces find them where they lie; `inside/machine_code.py` loads them.
The code may be copied anywhere because it has no relocations: it refers to no data, and to no function but by the
addresses that it is handed. That is checked here. Compiling takes some seconds, once, in a process of its own: the
lab's own process stays without numba.

Where it cannot be done nothing is lost but speed: the interpreter runs the same texts, and what they did says which of
the two it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import subprocess
import sys
from binascii import crc32
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.engines import Say
from lab.inside import loop_calls, machine_code, ring_records
from lab.inside.fleet import hot_loop, latency_log
from lab.inside.servers import epoll_compiled_turn

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "lab" / "inside" / "__pycache__" / "machine_code.lock"
BOUND_S = 120
"""A compiler that takes longer is given up."""
PROCESSORS = {"x86_64": "x86-64", "aarch64": "generic"}
"""What can be compiled for, as uname(2) has it, and what LLVM calls the least of its kind."""
CLOCK_MONOTONIC = 1
"""From <linux/time.h>: hosts are Linux wherever the lab runs."""
EVENT = {"x86_64": (12, 4), "aarch64": (16, 8)}
"""Bytes of a struct epoll_event, and where in it the descriptor is (what it reports is at its beginning):
<sys/epoll.h> packs it on x86-64 alone."""


@dataclass(frozen=True)
class Loop:
    """A function that becomes machine code."""

    function: Callable[..., None]
    files: tuple[str, ...]
    """The text it stands in, and others that it depends on."""
    takes: str
    """Of each parameter, what it points to: q int64, B uint8, I uint32. (`calls` are int64.)"""
    lend_calls: Callable[[str], None]
    """Tells numba what is called for a processor."""

    @property
    def code(self) -> Path:
        """Where its code belongs."""
        return Path(machine_code.code_file(self.files[0], processor()))

    def header(self) -> bytes:
        """What its code is made of: texts, this file, and the compiler, which the lock names."""
        maker = crc32((ROOT / "requirements.lock").read_bytes(), crc32(Path(__file__).read_bytes()))
        return machine_code.MAGIC + machine_code.crc_of(*self.files) + maker.to_bytes(4, "little")

    def is_compiled(self) -> bool:
        """Whether its code is there, and made of just this."""
        try:
            with self.code.open("rb") as file:
                return file.read(machine_code.HEADER_BYTES) == self.header()
        except OSError:
            return False


def processor() -> str:
    """This machine's processor, as a Linux host on it has it: macOS says arm64."""
    machine = platform.machine()
    return "aarch64" if machine == "arm64" else machine


def ensure_machine_code(say: Say) -> bool:
    """Compile the loops where that has not been done; returns whether their code is there."""
    if all(loop.is_compiled() for loop in LOOPS):
        return True
    folders = {loop.code.parent for loop in LOOPS}
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.mkdir(exist_ok=True)
    if processor() not in PROCESSORS or not all(os.access(folder, os.W_OK) for folder in folders):
        return False
    say("compiling loops of fleets, captures and a server for this machine, once (some seconds)")
    with contextlib.suppress(OSError, subprocess.SubprocessError), _alone():
        if not all(loop.is_compiled() for loop in LOOPS):
            subprocess.run(
                [sys.executable, "-m", "lab.engines.machine_code"],
                check=True,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=BOUND_S,
            )
    if all(loop.is_compiled() for loop in LOOPS):
        return True
    say("they could not be compiled: the interpreter runs them; fleets send at half the speed")
    return False


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Have other processes that want to compile wait until this one has."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def compiled(loop: Loop, machine: str) -> bytes:
    """A loop's code for a processor. Raises RuntimeError where what LLVM makes cannot be copied anywhere."""
    import numba
    from llvmlite import binding
    from numba import types

    loop.lend_calls(machine)
    kinds = {"q": types.int64, "B": types.uint8, "I": types.uint32}
    signature = types.none(*[types.CPointer(kinds[kind]) for kind in "q" + loop.takes])
    # Whole numbers only, and no division: nothing in it raises, so nothing refers to Python.
    compile_by: Any = numba.njit
    made: Any = compile_by(signature, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(
        loop.function
    )
    module = binding.parse_assembly(made.overloads[signature.args].library.get_llvm_str())
    if len([function for function in module.functions if not function.is_declaration]) != 1:
        raise RuntimeError(f"{loop.function.__name__}: its code is not one function")
    target = binding.Target.from_triple(f"{machine}-unknown-linux-gnu")
    emitter = target.create_target_machine(cpu=PROCESSORS[machine], opt=3, reloc="pic", codemodel="small")
    elf = binding.ObjectFileRef.from_data(emitter.emit_object(module))
    sections: dict[bytes, bytes] = {section.name(): section.data() for section in elf.sections()}
    if b".rel.text" in sections or b".rela.text" in sections:
        raise RuntimeError(f"{loop.function.__name__}: its code refers to something outside of itself")
    return sections[b".text"]


def _lend_system_calls(machine: str) -> None:
    """Tell numba what the calls of the fleet's loop are: the C library's functions, at the addresses in `calls`."""
    from numba.extending import overload

    event_bytes, descriptor_at = EVENT[machine]
    functions, at = loop_calls.FUNCTIONS, _at()
    epoll_wait = _function(functions, "epoll_wait", "int", "int", "pointer", "int", "int")
    read = _function(functions, "read", "long", "int", "pointer", "long")
    write = _function(functions, "write", "long", "int", "pointer", "long")
    memcmp = _function(functions, "memcmp", "int", "pointer", "pointer", "long")
    monotonic_ns, is_null = _monotonic_ns(functions), _is_null()

    # The outer function is asked by the types of the arguments, which are known here; the inner one is the code.
    overload(loop_calls.wait)(lambda c, e, to, n, ms: lambda c, e, to, n, ms: epoll_wait(c, (e, to, n, ms)))
    overload(loop_calls.read)(lambda c, fd, to, i, n: lambda c, fd, to, i, n: read(c, (fd, at(to, i), n)))
    overload(loop_calls.write)(lambda c, fd, data, i, n: lambda c, fd, data, i, n: write(c, (fd, at(data, i), n)))
    overload(loop_calls.same)(lambda c, a, b, n: lambda c, a, b, n: is_null(b) or memcmp(c, (a, b, n)) == 0)
    overload(loop_calls.clock_ns)(lambda c: lambda c: monotonic_ns(c))
    overload(loop_calls.ready_for)(_number_in_event(event_bytes, 0))
    overload(loop_calls.descriptor)(_number_in_event(event_bytes, descriptor_at))


def _number_in_event(event_bytes: int, place: int) -> Any:
    """Return what tells numba how a number of 32 bits is read out of one of many events."""

    def by_type(events: Any, i: Any) -> Any:
        def code(events: Any, i: Any) -> Any:
            at = i * event_bytes + place
            return events[at] | events[at + 1] << 8 | events[at + 2] << 16 | events[at + 3] << 24

        return code

    return by_type


def _lend_memcpy(_machine: str) -> None:
    """Tell numba what copying and asking ahead are in the capture's loop."""
    from numba.extending import overload

    memcpy, at = _function(ring_records.FUNCTIONS, "memcpy", "pointer", "pointer", "pointer", "long"), _at()
    prefetch = _prefetch()
    overload(ring_records.fetch)(lambda memory, place: lambda memory, place: prefetch(memory, place))
    overload(ring_records.copy)(
        lambda c, out, to, memory, source, n: (
            lambda c, out, to, memory, source, n: memcpy(c, (at(out, to), at(memory, source), n))
        )
    )


def _prefetch() -> Any:
    """Return what numba compiles to a prefetch of the line that a byte is in."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def write_code(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [given[0].type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, in_all_caches, data = number(0), number(3), number(1)  # https://llvm.org/docs/LangRef.html
        builder.call(function, [builder.gep(given[0], [given[1]]), read, in_all_caches, data])
        return cgutils.false_bit

    def called(_typing: Any, pointer: Any, place: Any) -> Any:
        return types.boolean(pointer, place), write_code

    return intrinsic(called)


def _function(functions: tuple[str, ...], name: str, gives: str, *takes: str) -> Any:
    """Return what numba compiles to a call of a function of the C library, from `calls` and a tuple of its arguments.

    It gives what the function gives as an int64, or the negated errno where that is less than 0; 0 where that is a
    pointer.
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
        returned = _call(builder, calls, functions.index(name), kinds[gives], fitted)
        if gives == "pointer":
            return kinds["long"](0)
        result = cgutils.alloca_once_value(builder, builder.sext(returned, kinds["long"]))
        if name != "memcmp":
            with builder.if_then(builder.icmp_signed("<", returned, kinds[gives](0)), likely=False):
                errno = builder.load(
                    _call(builder, calls, functions.index("__errno_location"), kinds["int"].as_pointer(), [])
                )
                builder.store(builder.neg(builder.sext(errno, kinds["long"])), result)
        return builder.load(result)

    def called(_typing: Any, calls: Any, arguments: Any) -> Any:
        return types.int64(calls, arguments), write_code

    return intrinsic(called)


def _monotonic_ns(functions: tuple[str, ...]) -> Any:
    """Return what numba compiles to clock_gettime(CLOCK_MONOTONIC) as nanoseconds, from `calls`."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    long = ir.IntType(64)

    def write_code(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        timespec = cgutils.alloca_once(builder, ir.ArrayType(long, 2))
        place = functions.index("clock_gettime")
        _call(builder, given[0], place, ir.IntType(32), [ir.IntType(32)(CLOCK_MONOTONIC), timespec])
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


def _at() -> Any:
    """Return what numba compiles to the address of an element of bytes."""
    from numba.extending import intrinsic

    def called(_typing: Any, pointer: Any, place: Any) -> Any:
        return pointer(pointer, place), lambda _c, builder, _s, given: builder.gep(given[0], [given[1]])

    return intrinsic(called)


def _call(builder: Any, calls: Any, place: int, gives: Any, arguments: list[Any]) -> Any:
    """Write a call of the function whose address stands at a place in `calls`."""
    from llvmlite import ir

    address = builder.load(builder.gep(calls, [ir.IntType(64)(place)]))
    kind = ir.FunctionType(gives, [argument.type for argument in arguments])
    return builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)


LOOPS = (
    Loop(
        hot_loop.hot_loop,
        (hot_loop.__file__, loop_calls.__file__, latency_log.__file__),
        "qqqqqqBBBB",
        _lend_system_calls,
    ),
    Loop(
        epoll_compiled_turn.turn,
        (epoll_compiled_turn.__file__, loop_calls.__file__),
        "qqqqBBB",
        _lend_system_calls,
    ),
    Loop(ring_records.write_records, (ring_records.__file__,), "qBIBI", _lend_memcpy),
)


def compile_all() -> None:
    """Compile every loop, and leave the code at its place, whole or not at all.

    For the least of this kind of processor, whatever this one is: the same code everywhere.
    """
    os.environ |= {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}  # read when numba is imported
    for loop in LOOPS:
        partial = loop.code.with_suffix(".partial")
        partial.write_bytes(loop.header() + compiled(loop, processor()))
        partial.replace(loop.code)


if __name__ == "__main__":
    compile_all()
