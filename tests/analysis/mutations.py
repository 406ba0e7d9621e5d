"""Does every definition have a case that fails when its rule is broken?

    make mutation                     (or: python -m tests.analysis.mutations [NAME..])

Each mutation breaks one rule of the analysis: a text in one file is replaced by another. The corpus is then analysed by
the broken code, interpreted (`interpreted.py`), in a process of its own; at least one case must say otherwise. A
mutation that no case notices has survived: the definition it belongs to is not held by the corpus.
"""

# ruff: noqa: E501 - a table of texts as they stand in the files

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ANALYSIS = Path(__file__).resolve().parent.parent.parent / "lab" / "analysis"


@dataclass(frozen=True)
class Mutation:
    """One broken rule."""

    definition: str
    """The word whose rule it is."""
    file: str
    text: str
    """Stands in the file once."""
    replacement: str


def _of(file: str, *rules: tuple[str, str, str]) -> tuple[Mutation, ...]:
    return tuple(Mutation(definition, file, text, replacement) for definition, text, replacement in rules)


MUTATIONS = (
    *_of(
        "sequence.py",
        ("sequence arithmetic", "((np.int64(a) - np.int64(b) + HALF) & (MODULUS - 1)) - HALF", "np.int64(a) - np.int64(b)"),
        ("sequence arithmetic", "return (np.int64(a) + np.int64(n)) & (MODULUS - 1)", "return np.int64(a) + np.int64(n)"),
    ),
    *_of(
        "connections.py",
        ("incarnation", "return segment.seq != me.isn", "return False"),
        ("incarnation", "return not precedes(segment.seq, me)", "return False"),
        ("late segment of an incarnation", "return previous\n", "return live\n"),
        ("originator", "connection.orig = 1 - from_high", "connection.orig = from_high"),
        ("originator", "connection.orig = from_high  # the SYN came late in the file", "pass"),
        ("capture_duplicate", "abs(t_ns - recent.t_ns) <= DUPLICATE_WITHIN_NS", "False"),
        ("capture_duplicate", "DUPLICATE_WITHIN_NS = 1_000_000", "DUPLICATE_WITHIN_NS = 1_000_000_000"),
        ("fragments", "packet.seq = advanced(np.int64(known.seq), offset - np.int64(known.header))", "packet.seq = known.seq"),
        ("fragments", "flags &= ~FIN", "flags &= ~0"),
    ),
    *_of(
        "handshake.py",
        ("complete", "if within(seq, advanced(me.isn, 1), sent_end) and", "if"),
        ("complete", "and within(ack, advanced(peer.isn, 1), np.int64(peer.end)):\n        if not me.acked_syn_plainly", ":\n        if not me.acked_syn_plainly"),
        ("complete", "three_way = (me.syns and peer.syn_ack_valid and me.acked_syn_plainly)", "three_way = (me.syns and peer.syn_ack_valid)"),
        ("reordered", "check_early(connection, me, peer)\n        check_early(connection, peer, me)", "pass"),
        ("reordered", "            me.ack_t = me.early_t\n            connection.reordered = 1", "            me.ack_t = me.early_t"),
        ("simultaneous open", "return SIMULTANEOUS_OPEN if", "return SPLIT if"),
        ("split", "both_opened = me.syns and peer.syns and me.acked_syn and peer.acked_syn", "both_opened = False"),
        ("split", "if orig.syn_ack_valid and resp.syn_ack_valid else SPLIT", ""),
        ("fast_open", "return FAST_OPEN", "return THREE_WAY"),
        ("fast_open", "or (side.syn_payload > 0 and ack == after_syn(side))", ""),
        ("SYN and SYN-ACK counts", "me.syns += 1", "me.syns = 1"),
        ("half round trips", "me.syn_t = segment.t_ns", "me.syn_t = segment.t_ns + 1"),
        ("half round trips", "me.ack_t = t_ns", "me.ack_t = t_ns + 1"),
        ("no_answer", "return NO_ANSWER", "return BAD_ACK"),
        ("refused", "if connection.rst_kind == REFUSE:\n        return REFUSED", "if False:\n        return REFUSED"),
        ("syn_aborted", "return SYN_ABORTED", "return NO_ANSWER"),
        ("syn_rcvd", "RESET_IN_SYN_RCVD if connection.rst_packets else SYN_RCVD", "RESET_IN_SYN_RCVD"),
        ("bad_ack", "if resp.bad_acks or (orig.bad_acks and resp.syn_acks):", "if resp.bad_acks:"),
        ("bad_ack", "if resp.bad_acks or (orig.bad_acks and resp.syn_acks):", "if orig.bad_acks and resp.syn_acks:"),
        ("bad_ack", "return BAD_ACK  # what", "return NO_ANSWER  # what"),
        ("reset_in_syn_rcvd", "RESET_IN_SYN_RCVD if connection.rst_packets else SYN_RCVD", "SYN_RCVD"),
        ("icmp_error", "if connection.icmp_errors:\n        return ICMP_ERROR", "if False:\n        return ICMP_ERROR"),
        ("one_sided", "return ONE_SIDED  # it answered something that was not seen", "return NO_ANSWER"),
        ("one_sided", "return ONE_SIDED  # only answers were seen", "return MIDSTREAM"),
        ("midstream", "        return MIDSTREAM\n    if connection.rst_kind", "        return ONE_SIDED\n    if connection.rst_kind"),
        ("claim of absence", "if evidence_lost and claims_absence:", "if False:"),
        ("claim of absence", "if evidence_lost and claims_absence:", "if evidence_lost:"),
    ),
    *_of(
        "options.py",
        ("options", "work.mss = big16(buffer, place + 2)", "work.mss = 0"),
        ("options", "work.window_scale = min(np.int64(buffer[place + 2]), LARGEST_SCALE)", "work.window_scale = 0"),
        ("options", "work.offers |= OFFERS_SACK", "pass"),
        ("options", "work.offers |= OFFERS_TIMESTAMPS", "pass"),
        ("options", "work.offers |= OFFERS_COOKIE", "pass"),
        ("options", "packet.sack_blocks = (size - 2) // 8", "pass"),
    ),
    *_of(
        "segment.py",
        ("spurious", "if distance(sacks.right, ack) <= 0:", "if False:"),
    ),
    *_of(
        "teardown.py",
        ("active closer", "return BY_RESP if orig_second else BY_ORIG", "return BY_ORIG"),
        ("active closer", "return BY_RESP if orig_second else BY_ORIG", "return BY_RESP"),
        ("fin4", "and distance(passive.plain_ack_seq, passive.fin_seq) <= 0:", "and False:"),
        ("fin3", "and distance(passive.plain_ack_seq, passive.fin_seq) <= 0:", "or True:"),
        ("simultaneous close", "return SIMULTANEOUS_CLOSE, closer, BY_BOTH", "return FIN4, closer, BY_BOTH"),
        ("simultaneous close", "if orig_second == resp_second:", "if False:"),
        ("half_closed", "me.sent_after_fin_acked = 1", "pass"),
        ("half_closed", "return HALF_CLOSED, closer, NONE", "return LAST_ACK_MISSING, closer, NONE"),
        ("last_ack_missing", "if not active.acked_fin:", "if False:"),
        ("last_ack_missing", "if orig.acked_fin and resp.acked_fin:\n            return SIM", "if True:\n            return SIM"),
        ("reset", "return RESET, closer, ON_NONE", "return OPEN_AT_END, closer, ON_NONE"),
        ("open_at_end", "open_or_never = OPEN_AT_END if", "open_or_never = NONE if"),
        ("TIME-WAIT", "return RESET, closer, ON_NONE", "return RESET, closer, closer"),
        ("TIME-WAIT", "return SIMULTANEOUS_CLOSE, closer, BY_BOTH", "return SIMULTANEOUS_CLOSE, closer, BY_ORIG"),
        ("TIME-WAIT", "return kind, closer, closer", "return kind, closer, NONE"),
        ("refuse", "return REFUSE\n", "return ABORT\n"),
        ("refuse", "and segment.flags & ACK and acknowledges_syn(segment.ack, peer)", ""),
        ("abort", "return WITH_DATA if segment.payload else ABORT", "return WITH_DATA"),
        ("after_fin", "if me.has_fin:\n        return AFTER_FIN", "if False:\n        return AFTER_FIN"),
        ("after_close", "return AFTER_CLOSE\n", "return AFTER_FIN\n"),
        ("with_data", "return WITH_DATA if segment.payload else ABORT", "return ABORT"),
        ("out_of_window", "if not within(segment.seq, np.int64(peer.highest_ack), end):", "if False:"),
        ("out_of_window", "if connection.rst_kind == NONE or connection.rst_kind == OUT_OF_WINDOW:", "if connection.rst_kind == NONE:"),
        ("out_of_window", "return OUT_OF_WINDOW  # it answers a SYN, by a wrong number", "return ABORT"),
        ("claim of absence", "if blind:\n            return UNKNOWN_TEARDOWN", "if False:\n            return UNKNOWN_TEARDOWN"),
        ("claim of absence", "(UNKNOWN_TEARDOWN if blind else kind)", "kind"),
        ("claim of absence", "if open_or_never and evidence_lost:", "if False:"),
    ),
    *_of(
        "streams.py",
        ("new", "return NEW, length\n    fresh", "return OUT_OF_ORDER, length\n    fresh"),
        ("retransmission", "(OUT_OF_ORDER if fresh == length else RETRANSMISSION)", "OUT_OF_ORDER"),
        ("out_of_order", "(OUT_OF_ORDER if fresh == length else RETRANSMISSION)", "RETRANSMISSION"),
        ("out_of_order", "fresh += fill_gaps(state, me, start, end)", "fill_gaps(state, me, start, end)"),
        ("partial", "me.partial += 1", "pass"),
        ("partial", "if above > 0:\n        fresh += above", "if False:\n        fresh += above"),
        ("keep_alive", "return KEEP_ALIVE, 0", "return RETRANSMISSION, 0"),
        ("keep_alive", "if sent_data and all_acknowledged:", "if sent_data:"),
        ("keep_alive", "peer.acked_keep_alive = 1\n            packet.marks", "packet.marks"),
        ("zero_window_probe", "if peer.has_ack and peer.window == 0:\n            return ZERO", "if False:\n            return ZERO"),
        ("zero_window_probe", "if length == 1 and bare and ahead == 0 and peer.has_ack and peer.window == 0:", "if False:"),
        ("fast", "kind = FAST if me.recovering else TIMEOUT", "kind = TIMEOUT"),
        ("fast", "FAST_AFTER = 3", "FAST_AFTER = 2"),
        ("fast", "FAST_AFTER = 3", "FAST_AFTER = 4"),
        ("timeout", "kind = FAST if me.recovering else TIMEOUT", "kind = FAST"),
        ("spurious", "spurious = peer.has_ack and distance(end, peer.highest_ack) <= 0", "spurious = False"),
        ("spurious", "peer.spurious += 1", "pass"),
        ("duplicate_ack", "outstanding = peer.seen and distance(peer.end, segment.ack) > 0", "outstanding = True"),
        ("duplicate_ack", "unchanged = me.window == segment.window or sack_news", "unchanged = True"),
        ("duplicate_ack", "unchanged = me.window == segment.window or sack_news", "unchanged = me.window == segment.window"),
        ("duplicate_ack", "bare = segment.payload == 0 and not segment.flags & (SYN | FIN | RST)", "bare = not segment.flags & (SYN | FIN | RST)"),
        ("duplicate_ack", "bare = segment.payload == 0 and not segment.flags & (SYN | FIN | RST)", "bare = segment.payload == 0"),
        ("zero_window", "if segment.window == 0 and not segment.flags & (SYN | FIN | RST):", "if False:"),
        ("zero_window", "if segment.window == 0 and not segment.flags & (SYN | FIN | RST):", "if segment.window == 0:"),
        ("unscaled", "packet.marks |= UNSCALED", "pass"),
        ("super_segment", "if payload > mss:", "if payload > mss + 100_000:"),
        ("super_segment", "if payload > mss:", "if payload >= mss:"),
        ("round trips", "me.timing = 0  # Karn", "pass  # Karn"),
        ("round trips", "side.rtt_sum += rtt", "side.rtt_sum += 2 * rtt"),
        ("missing bytes", "if 0 < tail <= LARGEST_WINDOW:", "if False:"),
        ("missing bytes", "missing += distance(gap.end, gap.start) if", "missing += 0 if"),
        ("history", "write_at_powers_of_ten(connection, 1 - from_high, LETTER_G", "write_at_powers_of_ten(connection, from_high, LETTER_G"),
        ("history", "write_at_powers_of_ten(connection, from_high, LETTER_T", "write_at_powers_of_ten(connection, 1 - from_high, LETTER_T"),
    ),
    *_of(
        "history.py",
        ("history", "while times >= 10 and times % 10 == 0:", "while False:"),
        ("history", "if not side.letters >> letter & 1:", "if True:"),
        ("conn_state", "if orig.has_fin and resp.has_fin:", "if orig.acked_fin and resp.acked_fin:"),
        ("conn_state", " or (resp.syn_acks > 0 and orig.packets > 0)", ""),
        ("conn_state", "return RSTOS0 if orig_takes_part else OTH", "return OTH"),
        ("conn_state", "            return RSTO\n", "            return S1\n"),
        ("conn_state", "return REJ", "return S0"),
        ("conn_state", "return RSTR if orig_takes_part else RSTRH", "return RSTRH"),
        ("conn_state", "return RSTR if orig_takes_part else RSTRH", "return RSTR"),
        ("conn_state", "return S2 if resp_takes_part else SH", "return S2"),
        ("conn_state", "return S2 if resp_takes_part else SH", "return SH"),
        ("conn_state", "return S3 if orig_takes_part else SHR", "return S3"),
        ("conn_state", "return S3 if orig_takes_part else SHR", "return SHR"),
        ("conn_state", "return S0 if orig.syns and not resp.packets else OTH", "return OTH"),
        ("conn_state", "return S0 if orig.syns and not resp.packets else OTH", "return S0"),
    ),
    *_of(
        "judgements.py",
        ("history", "if k == 0 and not by_originator:", "if False:"),
        ("half round trips", "resp.syn_ack_t - orig.syn_t if answered else", "resp.syn_ack_t if answered else"),
        ("bytes each way", "out.i64[SIDE_BYTES, place] = side.bytes", "out.i64[SIDE_BYTES, place] = 0"),
        ("evidence lost", "evidence_lost = lossy[capture] or", "evidence_lost ="),
    ),
    *_of(
        "packet_columns.py",
        ("window scale", "window <<= np.int64(me.shift)", "pass"),
        ("relative numbers", "advanced(side.base, -1)", "np.int64(side.base)"),
    ),
    *_of(
        "datagrams.py",
        ("flow", "flow.orig = 0 if from_low else 1", "flow.orig = 1 if from_low else 0"),
        ("flow", "flow.first_reply_t = packet.t_ns", "pass"),
        ("ICMP errors joined", "packet.marks |= ICMP_ERROR_PACKET", "pass"),
        ("ICMP errors joined", "connection.icmp_errors += 1", "pass"),
        ("ICMP errors joined", "flow.icmp_errors += 1", "pass"),
    ),
    *_of(
        "packets.py",
        ("snapped", "if original > captured:", "if False:"),
        ("malformed", "packet.marks |= MALFORMED", "pass"),
        ("fragments", "work.more_fragments = place >> 13 & 1", "work.more_fragments = 0"),
        ("link layers", "packet.vlan = big16(buffer, at) & 0x0FFF", "packet.vlan = 0"),
        ("link layers", "return at + 20, big16(buffer, at), big32(buffer, at + 4)", "return at + 16, big16(buffer, at), 0"),
        ("link layers", "return at + 16, big16(buffer, at + 14), 0", "return at + 14, big16(buffer, at + 14), 0"),
        ("link layers", "return at + 4, ethertype_of_version(buffer, at + 4, end), 0", "return at, 0, 0"),
        ("IPv6", "at += size\n        total -= size", "at += size"),
    ),
    *_of(
        "frames.py",
        ("ARP", '(ethertype == ETHERTYPE_ARP)\n        &', ""),
        ("ARP", "head.at(link + 6, 2) <= 2", "head.at(link + 6, 2) <= 1"),
        ("ARP", "head.at(link + 24, 4)", "head.at(link + 14, 4) "),
        ("ARP", "arp & (head.at(link + 18, 6) > 0)", "arp"),
        ("cast", "== 0xFFFF_FFFF_FFFF, 2", "== 0xFFFF_FFFF_FFFF, 1"),
        ("cast", "head.bytes[:, 0] & 1 > 0", "head.bytes[:, 0] & 2 > 0"),
        ("EtherType", "where(ethertype >= SMALLEST_ETHERTYPE, ethertype)", "pl.Series(ethertype)"),
        ("bytes of a frame", "np.where(tagged, size + TAG_BYTES, size)", "size"),
        ("bytes of a frame", "(head.at(link, 1) & 15) * 4, np.where(v6, 40, 0)", "24, np.where(v6, 40, 0)"),
        ("bytes of a frame", "np.where(v6, 40, 0)", "np.where(v6, 48, 0)"),
        ("bytes of a frame", "np.minimum(total, original - link), original - link", "original - link, original - link"),
        ("bytes of a frame", "(head.at(above + 12, 1) >> 4) * 4", "20"),
        ("bytes of a frame", "first = ip & (offset == 0)", "first = ip"),
        ("fragments", "(place & 0x1FFF) * 8", "place & 0x1FFF"),
        ("fragments", "where(v4, place & 0x2000 > 0)", "where(v4, place & 0x4000 > 0)"),
        ("don't fragment", "where(v4, place & 0x4000 > 0)", "where(v4, place & 0x8000 > 0)"),
    ),
)  # fmt: skip
"""Words of `definitions.md` that need something else than captures (`abort_unread`, boundaries, jitter) are not here."""

DEFINITIONS = {
    "complete", "reordered", "split", "fast_open", "no_answer", "refused", "syn_aborted", "syn_rcvd", "bad_ack",
    "reset_in_syn_rcvd", "icmp_error", "one_sided", "midstream", "fin4", "fin3", "half_closed", "last_ack_missing",
    "reset", "open_at_end", "refuse", "abort", "after_fin", "after_close", "with_data", "out_of_window", "new",
    "retransmission", "partial", "out_of_order", "keep_alive", "zero_window_probe", "fast", "timeout", "spurious",
    "capture_duplicate", "duplicate_ack", "zero_window", "unscaled", "super_segment", "incarnation", "originator",
    "history", "conn_state", "snapped", "malformed", "simultaneous open", "simultaneous close", "active closer",
    "TIME-WAIT", "claim of absence", "sequence arithmetic", "ARP", "cast", "EtherType", "bytes of a frame",
}  # fmt: skip
"""What must have a mutation."""


class _Broken(importlib.machinery.SourceFileLoader):
    """Loads one module of the analysis with a text replaced."""

    def __init__(self, name: str, path: str, mutation: Mutation) -> None:
        super().__init__(name, path)
        self._mutation = mutation

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return self.source_to_code(broken_source(self._mutation).encode(), self.path)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation
        self._name = f"lab.analysis.{mutation.file.removesuffix('.py')}"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        file = str(ANALYSIS / self._mutation.file)
        return importlib.util.spec_from_file_location(fullname, file, loader=_Broken(fullname, file, self._mutation))


def broken_source(mutation: Mutation) -> str:
    """Return the file's text with the mutation in it. Raises ValueError where the text does not stand there once."""
    source = (ANALYSIS / mutation.file).read_text(encoding="utf-8")
    if source.count(mutation.text) != 1:
        raise ValueError(
            f"{mutation.file}: {mutation.text!r} stands there {source.count(mutation.text)} times, not once"
        )
    return source.replace(mutation.text, mutation.replacement)


SECONDS = 40
"""Of processor time, ten times what the corpus takes: a rule so broken that the loop never ends is noticed by that, and a
machine that is busy with other things is not mistaken for one."""


def _watch(ended: threading.Event) -> None:
    """End what takes too long by an error in whatever thread it runs.

    A signal would not do: its handler runs in the main thread, which waits for the loops' threads and is not woken up.
    """
    end = time.process_time() + SECONDS
    while not ended.wait(0.2):
        if time.process_time() > end:
            for thread in threading.enumerate():
                if thread is not threading.current_thread():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError)
                    )
            return


def caught_by(mutation: Mutation | None) -> str | None:
    """Name the first case that notices, in this process, which must not have loaded the loops yet."""
    from lab.analysis import compiled, prefetch
    from tests.analysis import interpreted

    warnings.simplefilter("ignore")  # numbers that wrap around, as they do in machine code
    compiled.kernel, compiled.inlined = interpreted.kernel, interpreted.inlined
    prefetch.prefetch = interpreted.prefetch
    compiled.compiles_on_first_call = lambda: False
    if mutation is not None:
        sys.meta_path.insert(0, _Finder(mutation))
    from tests.analysis.test_corpus import CASES, test_a_case_means_what_its_expectations_say

    ended = threading.Event()
    threading.Thread(target=_watch, args=(ended,), daemon=True).start()
    try:
        for case in CASES:
            try:
                test_a_case_means_what_its_expectations_say(case)
            except Exception:  # noqa: BLE001 - a broken rule may break anything; that it is noticed is all that counts
                return case.name
        return None
    finally:
        ended.set()


def main(wanted: list[str]) -> int:
    """Try each mutation and print who caught it; returns 1 where one survived."""
    chosen = [mutation for mutation in MUTATIONS if not wanted or mutation.definition in wanted]
    for mutation in chosen:
        broken_source(mutation)
    fresh = multiprocessing.get_context("spawn")  # polars' threads do not outlive a fork
    with fresh.Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        if unbroken := pool.apply(caught_by, (None,)):
            print(f"the corpus fails without any mutation: {unbroken}")
            return 1
        results = []
        for mutation, case in zip(chosen, pool.imap(caught_by, chosen, chunksize=1), strict=True):
            results.append((mutation, case))
            verdict = "SURVIVED" if case is None else "caught"
            print(f"{verdict:9} {mutation.definition:22} {mutation.file:15} {case or mutation.text!r}", flush=True)
    survivors = sum(case is None for _, case in results)
    definitions = len({mutation.definition for mutation in chosen})
    print(f"{len(results)} mutations of {definitions} definitions, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
