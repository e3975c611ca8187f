"""What the report of a capture's own halves says: the floor, in words."""

from __future__ import annotations

from netsynth.report.fidelity import FidelityReport

ANALYSERS = ("tshark", "suricata")


def floor_judgement(report: FidelityReport, family: str) -> tuple[float, str, str]:
    """Badness (1, by definition), the number to show, and what it means, of a measured family."""
    rows = {f.name: f for f in report.family(family) if f.raw is not None}
    raws = {name: f.raw or 0.0 for name, f in rows.items()}
    mean = report.mean_scaled(family)
    if family == "throughput":
        error = sum(raws.values()) / len(raws)
        words = f"Forecasters trained on the other half err {error:.2f} times as much."
        return 1.0, f"{error:.2f}x the error", words
    if family == "anomaly" and mean is not None:
        words = f"Detectors trained on either half agree with F1 {1 - mean:.2f}."
        return 1.0, f"F1 {1 - mean:.2f}", words
    if family == "C2ST":
        auc = raws["AUC"]
        return (
            1.0,
            f"AUC {auc:.2f}",
            "A classifier tells one half from the other so well; 0.5 is a guess.",
        )
    if family == "privacy":
        return 1.0, *_recurring(raws)
    if family in ("validity", "labels"):
        shares = [f"{name} {raw:.1%}" for name, raw in raws.items() if name not in ANALYSERS]
        shares += [f"{k} {raws[k]:.3g} per 1,000 frames" for k in ANALYSERS if k in raws]
        return 1.0, "its own", f"Of the real capture itself: {', '.join(shares)}."
    known = [f.scaled for f in rows.values() if f.scaled is not None]
    apart = mean if mean is not None else sum(known) / max(len(known), 1)
    return 1.0, f"{apart:.3g} apart", "Mean scaled distance of two halves of the real capture."


def _recurring(raws: dict[str, float]) -> tuple[str, str]:
    """Number and words on what of one half recurs in the other."""
    copied, records = raws.get("session copies"), raws.get("record copies")
    parts = [
        f"{share:.1%} of the {what} of one half"
        for share, what in ((copied, "longer sessions"), (records, "packet records"))
        if share is not None
    ]
    words = f"{' and '.join(parts)} recur in the other: no leak, but how the traffic repeats itself"
    return f"{max(copied or 0.0, records or 0.0):.1%} recur", f"{words}."
