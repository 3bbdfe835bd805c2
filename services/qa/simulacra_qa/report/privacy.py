"""The sections on closeness to single records and on attacks that use it."""

from simulacra_qa.metrics.bins import RARE_BELOW
from simulacra_qa.metrics.membership import FALSE_POSITIVE_RATES
from simulacra_qa.report import charts
from simulacra_qa.report.markup import Markup, tag
from simulacra_qa.report.view import View, percent, span, wide

__all__ = ["attacks", "distances", "membership"]


def distances(view: View) -> Markup | None:
    """Identical matches and distances to the closest training and holdout records."""
    scores = view.evaluation.distances
    if scores is None:
        return tag(
            "p", "There is no holdout, so closeness to training records cannot be judged.", cls="panel"
        )
    rows = (
        ("Identical to a record", percent(scores.ims_training, 2), percent(scores.ims_holdout, 2)),
        ("Mean distance to the closest record", f"{scores.dcr_training:.4f}", f"{scores.dcr_holdout:.4f}"),
    )
    head = ("Synthetic records, against", "training", "holdout")
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag(
            "tbody",
            [
                tag(
                    "tr",
                    tag("th", name, scope="row"),
                    [tag("td", figure, cls="number") for figure in figures],
                )
                for name, *figures in rows
            ],
        ),
    )
    interval = scores.dcr_share_interval
    text = (
        f"Of {scores.records:,} synthetic records, {percent(scores.dcr_share)} are closer to a training "
        f"than to a holdout record (95 % interval {span((interval.low, interval.high))}); 50 % is expected "
        "of data that remember nobody. The curves show the share of synthetic records that have a record "
        "within the distance: they should coincide. This test finds copies, not every kind of leak; it "
        "does not prove that data are anonymous."
    )
    curves = charts.cumulative(
        scores.quantiles_training,
        scores.quantiles_holdout,
        title="Distances to the closest training and holdout record",
    )
    key = tag(
        "p",
        tag("span", cls="swatch synthetic"),
        " to training records ",
        tag("span", cls="swatch holdout"),
        " to holdout records",
        cls="legend",
    )
    return tag("div", tag("p", text), table, key, curves, cls="panel")


def membership(view: View) -> Markup | None:
    """The attacks that try to recognise training records."""
    battery = view.evaluation.membership
    if battery is None:
        return None
    attacks = battery.attacks
    rates = [f"found at {100 * rate:g} % false alarms" for rate in FALSE_POSITIVE_RATES]
    rows = [
        tag(
            "tr",
            tag("th", attack.name, scope="row"),
            tag("td", f"{attack.auc:.3f}", cls="number"),
            tag("td", f"{attack.interval.low:.3f} – {attack.interval.high:.3f}", cls="number"),
            [
                tag(
                    "td",
                    percent(rate),
                    " ",
                    tag("small", f"({span((interval.low, interval.high))})"),
                    cls="number",
                )
                for rate, interval in attack.hits
            ],
        )
        for attack in attacks
    ]
    head = ("Attack", "AUC", "95 % interval", *rates)
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag("tbody", rows),
    )
    attack, p_value = battery.worst, battery.p_value
    likely = f"= {p_value:.3f}" if p_value >= 0.001 else "< 0.001"
    text = (
        "Somebody who holds the synthetic data, and other records of the same population, guesses who was in "
        "the training data. An AUC of 0.5 is guessing, and as many records as false alarms are found "
        f"by chance. The strongest attack is {attack.name} with an AUC of {attack.auc:.3f} "
        f"(p {likely}, corrected for {len(attacks)} attacks)."
    )
    return tag("div", tag("p", text), wide(table, "Attacks that recognise training records"), cls="panel")


_ATTACKS = {
    "identical_match": ("Identical matches", "is a record in the synthetic data, as it is?"),
    "rare_value": ("Rare values", "is a value that few records hold in the synthetic data?"),
    "extreme": ("Extremes", "is one of the smallest or largest values in the synthetic data?"),
    "singling_out": ("Singling out", "does a description read off the synthetic data fit one record only?"),
    "attribute_inference": ("Attribute inference", "is a secret cell guessed right from all other cells?"),
    "linkability": ("Linkability", "are two halves of a record brought together?"),
}


def attacks(view: View) -> Markup | None:
    """What the synthetic data tell of single training records, and of holdout records as the reference."""
    tests = view.evaluation.privacy
    if not tests:
        return None
    head = ("Attack", "Training", "Holdout", "Risk", "95 % interval", "p-value")
    rows = [
        tag(
            "tr",
            tag("th", _ATTACKS[test.name][0], tag("small", f" {_ATTACKS[test.name][1]}"), scope="row"),
            tag("td", percent(test.training), cls="number"),
            tag("td", percent(test.holdout), cls="number"),
            tag("td", percent(test.risk), cls="number"),
            tag("td", span((test.interval.low, test.interval.high)), cls="number"),
            tag("td", f"{test.p_value:.3f}" if test.p_value >= 0.001 else "< 0.001", cls="number"),
        )
        for test in tests
    ]
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag("tbody", rows),
    )
    text = (
        "Each attack is tried on training records, and on holdout records, which training never saw. What "
        "succeeds as often on both tells of the population, not of a person. The risk is what an attacker "
        "gains from a record's having been trained on, of all there is to gain. If training left no trace, "
        "a p-value is below 0.05 in one of twenty reports."
    )
    rare = view.evaluation.rare_categories or 0
    also = (
        f"{rare:,} categories that fewer than {RARE_BELOW} training records hold are in the synthetic data."
        if rare
        else f"No category that fewer than {RARE_BELOW} training records hold is in the synthetic data."
    )
    return tag("div", tag("p", text), wide(table, "Attacks on single records"), tag("p", also), cls="panel")
