"""What a report says, in English and in Dutch: by name, the values in braces to be filled in."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, tuple[str, str]] = {
    "title": (
        "Did it pay? {site}, {period}",
        "Heeft het geloond? {site}, {period}",
    ),
    "no_title": (
        "Containers of {site}, {period}",
        "Containers van {site}, {period}",
    ),
    "and": (
        "{a} to {b}",
        "{a} tot en met {b}",
    ),
    "range": (
        "{a} to {b}",
        "{a} tot {b}",
    ),
    "paid": (
        "Saved {value} in {period} (90 %: {low} to {high}): yes, it paid.",
        "{value} bespaard in {period} (90 %: {low} tot {high}): ja, het heeft geloond.",
    ),
    "cost": (
        "Cost {value} more in {period} (90 %: {low} to {high} more): no, it did not pay.",
        "{value} duurder in {period} (90 %: {low} tot {high} meer): nee, het heeft niet geloond.",
    ),
    "rounds_less": (
        "The rounds cost {value} less",
        "De ritten kostten {value} minder",
    ),
    "rounds_more": (
        "The rounds cost {value} more",
        "De ritten kostten {value} meer",
    ),
    "fewer_overflow": (
        "there were {count} overflow days fewer, counted at {price} each.",
        "er waren {count} overvolle dagen minder, geteld voor {price} per dag.",
    ),
    "same_overflow": (
        "there were as many overflow days.",
        "er waren evenveel overvolle dagen.",
    ),
    "more_overflow": (
        "there were {count} overflow days more, counted at {price} each.",
        "er waren {count} overvolle dagen meer, geteld voor {price} per dag.",
    ),
    "unknown": (
        "Cannot be told from {period}: {value}, but it may be anything from {low} to {high}.",
        (
            "Niet te zeggen op grond van {period}: {value}, maar het kan alles zijn van {low} tot"
            " {high}."
        ),
    ),
    "saved": (
        "{value} saved",
        "{value} bespaard",
    ),
    "lost": (
        "{value} more spent",
        "{value} meer uitgegeven",
    ),
    "more_weeks": (
        "About {weeks} more weeks of data would tell.",
        "Ongeveer {weeks} weken gegevens erbij geven uitsluitsel.",
    ),
    "one_more_week": (
        "About one more week of data would tell.",
        "Ongeveer één week gegevens erbij geeft uitsluitsel.",
    ),
    "never": (
        "The difference is so small that another year would hardly tell.",
        "Het verschil is zo klein dat ook een jaar erbij nauwelijks uitsluitsel geeft.",
    ),
    "impossible": (
        "Cannot be told from {period}.",
        "Niet te zeggen op grond van {period}.",
    ),
    "against_schedule": (
        (
            "Compared with the city's own schedule, driven on the same days' waste by the same"
            " router at the same prices."
        ),
        (
            "Vergeleken met het eigen inzamelrooster, gereden op het afval van dezelfde dagen, met"
            " dezelfde routeplanner en dezelfde prijzen."
        ),
    ),
    "against_before": (
        (
            "Compared with {other}, scaled to the waste that came in {period}; both driven by the"
            " same router at the same prices."
        ),
        (
            "Vergeleken met {other}, omgerekend naar het afval dat in {period} kwam; beide gereden"
            " met dezelfde routeplanner en dezelfde prijzen."
        ),
    ),
    "against_nothing": (
        (
            "Compared with nothing: whether it paid takes the city's own schedule in the"
            " configuration (emptied_on, every_days), or months before (--before)."
        ),
        (
            "Met niets vergeleken: of het loonde vraagt het eigen inzamelrooster in de"
            " configuratie (emptied_on, every_days), of maanden ervoor (--before)."
        ),
    ),
    "no_trucks": (
        "No costs: the configuration has no [[truck]].",
        "Geen kosten: de configuratie heeft geen [[truck]].",
    ),
    "running": (
        "{value} for sensors, gateway and connection has been taken off.",
        "{value} voor sensoren, gateway en verbinding is er afgetrokken.",
    ),
    "no_running": (
        "What sensors, gateway and connection cost is not in it.",
        "Wat sensoren, gateway en verbinding kosten is niet meegeteld.",
    ),
    # Reasons and doubts.
    "levels": (
        (
            "Only {one} of {two} containers can be compared: of the others levels are not known"
            " well enough, or nothing to compare them with."
        ),
        (
            "Maar {one} van de {two} containers zijn te vergelijken: van de andere is het peil"
            " niet goed genoeg bekend, of niet waarmee."
        ),
    ),
    "weeks": (
        (
            "It is too short: {one} week(s). Two are needed to say anything, four for an answer to"
            " rely on."
        ),
        (
            "Het is te kort: {one} week(en). Twee zijn nodig om iets te zeggen, vier voor een"
            " antwoord om op te bouwen."
        ),
    ),
    "waste": (
        "{one:+} % waste against the months before: too different to compare.",
        "{one:+} % afval ten opzichte van de maanden ervoor: te verschillend om te vergelijken.",
    ),
    "no_waste": (
        "No waste is known of the months before.",
        "Van de maanden ervoor is geen afval bekend.",
    ),
    "not_over": (
        "The month is not over: {one} days are counted.",
        "De maand is niet voorbij: {one} dagen zijn geteld.",
    ),
    "few_weeks": (
        "It rests on {one} weeks only.",
        "Het steunt op maar {one} weken.",
    ),
    "known": (
        "Levels are known for only {one} % of the time; the rest is taken at the usual rate.",
        "Peilen zijn maar {one} % van de tijd bekend; de rest is op het gewone tempo geschat.",
    ),
    "known_month": (
        (
            "Levels are known for only {one} % of the time: what happened in the rest is in none of"
            " these figures."
        ),
        (
            "Peilen zijn maar {one} % van de tijd bekend: wat in de rest gebeurde zit in geen van"
            " deze cijfers."
        ),
    ),
    "settling": (
        (
            "The schedule begins {one} days before, at the levels that there were: its first days"
            " are partly ours."
        ),
        (
            "Het rooster begint {one} dagen ervoor, bij de peilen die er waren: de eerste dagen"
            " zijn deels van ons."
        ),
    ),
    "season": (
        (
            "{one:+} % waste against the months before: another season, perhaps. It is scaled in"
            " proportion, which is a guess."
        ),
        (
            "{one:+} % afval ten opzichte van de maanden ervoor: misschien een ander seizoen. Het"
            " is naar verhouding omgerekend, en dat is een aanname."
        ),
    ),
    "months": (
        "Other months of the year were compared: some of it may be the season's.",
        "Er zijn andere maanden van het jaar vergeleken: een deel kan van het seizoen zijn.",
    ),
    "unfit": (
        (
            "{two} emptyings did not fit into a day of the configured trucks ({one} of what was"
            " done); they are counted at the mean cost."
        ),
        (
            "{two} ledigingen pasten niet in een dag van de ingestelde wagens ({one} van wat"
            " gedaan is); ze zijn tegen de gemiddelde kosten geteld."
        ),
    ),
    "too_unfit": (
        (
            "{one} of {two} emptyings did not fit into a day of the configured trucks: what they"
            " would cost is not known. Are the trucks, their shifts and the sites' hours right?"
        ),
        (
            "{one} van de {two} ledigingen pasten niet in een dag van de ingestelde wagens: wat ze"
            " zouden kosten is niet bekend. Kloppen de wagens, hun diensten en de openingstijden?"
        ),
    ),
    "left_out": (
        (
            "{one} of {two} containers are left out of the comparison: their levels are not known"
            " well enough, or nothing is known of what they are compared with."
        ),
        (
            "{one} van de {two} containers tellen niet mee in de vergelijking: hun peil is niet"
            " goed genoeg bekend, of niet waarmee ze te vergelijken zijn."
        ),
    ),
    "lines": (
        "Kilometres are estimated from straight lines.",
        "Kilometers zijn geschat uit rechte lijnen.",
    ),
    # Headings and rows.
    "compared": (
        "Side by side",
        "Naast elkaar",
    ),
    "compared_note": (
        (
            "Both columns are reckoned alike: from the waste that came, and when containers were"
            " emptied. What was measured is below, in the month in figures."
        ),
        (
            "Beide kolommen zijn gelijk berekend: uit het afval dat kwam en wanneer containers zijn"
            " geleegd. Wat gemeten is staat hieronder, in de maand in cijfers."
        ),
    ),
    "done": (
        "what was done",
        "wat gedaan is",
    ),
    "schedule": (
        "own schedule",
        "eigen rooster",
    ),
    "before": (
        "before",
        "ervoor",
    ),
    "difference": (
        "saved",
        "bespaard",
    ),
    "interval": (
        "90 %",
        "90 %",
    ),
    "eur": (
        "total",
        "totaal",
    ),
    "eur_rounds": (
        "rounds",
        "ritten",
    ),
    "eur_overflow": (
        "overflow days, priced",
        "overvolle dagen, in geld",
    ),
    "overflow_days": (
        "overflow days",
        "overvolle dagen",
    ),
    "overflow_h": (
        "overflow hours",
        "overvolle uren",
    ),
    "emptyings": (
        "emptyings",
        "ledigingen",
    ),
    "needless": (
        "needless (below half full)",
        "onnodig (minder dan half vol)",
    ),
    "km": (
        "kilometres",
        "kilometers",
    ),
    "hours": (
        "hours of trucks",
        "wagenuren",
    ),
    "figures": (
        "The month in figures",
        "De maand in cijfers",
    ),
    "of_weeks": (
        "By week",
        "Per week",
    ),
    "of_fractions": (
        "By fraction",
        "Per fractie",
    ),
    "of_trucks": (
        "By truck",
        "Per wagen",
    ),
    "of_containers": (
        "By container",
        "Per container",
    ),
    "week": (
        "week {number}, from {day}",
        "week {number}, vanaf {day}",
    ),
    "week_short": (
        "wk {number}",
        "wk {number}",
    ),
    "all": (
        "all",
        "alles",
    ),
    "known_pct": (
        "levels known",
        "peil bekend",
    ),
    "readings": (
        "readings",
        "metingen",
    ),
    "false_readings": (
        "false readings",
        "foute metingen",
    ),
    "fill_median_pct": (
        "full at emptying (median)",
        "vol bij lediging (mediaan)",
    ),
    "fill_quartiles": (
        "half of them between",
        "de helft tussen",
    ),
    "collected_m3": (
        "collected, loose",
        "ingezameld, los",
    ),
    "weight": (
        "weighed",
        "gewogen",
    ),
    "eur_per_emptying": (
        "per emptying",
        "per lediging",
    ),
    "eur_per_m3": (
        "per m³",
        "per m³",
    ),
    "unknown_fill": (
        "emptyings of unknown fill",
        "ledigingen met onbekende vulling",
    ),
    "plan": (
        "planned stops",
        "geplande stops",
    ),
    "confirmed": (
        "confirmed",
        "bevestigd",
    ),
    "contradicted": (
        "contradicted",
        "tegengesproken",
    ),
    "unplanned": (
        "unplanned emptyings",
        "ongeplande ledigingen",
    ),
    "planned_cost": (
        "as planned",
        "volgens plan",
    ),
    "planned_value": (
        "{km} km, {hours} h, {eur} on {days} days",
        "{km} km, {hours} u, {eur} op {days} dagen",
    ),
    # Plots.
    "plot_overflow": (
        "Overflow hours a week",
        "Overvolle uren per week",
    ),
    "plot_eur": (
        "Euros a week",
        "Euro's per week",
    ),
    "plot_saved": (
        "Saved in each week, in euros",
        "Bespaard in elke week, in euro's",
    ),
    "plot_saved_note": (
        "Points are weeks, the line is their mean, the band where it is in 90 of 100 such cases.",
        (
            "Punten zijn weken, de lijn is hun gemiddelde, de band waar het in 90 van 100 zulke"
            " gevallen ligt."
        ),
    ),
    "plot_fill": (
        "How full containers were when emptied",
        "Hoe vol containers waren bij lediging",
    ),
    "plot_fill_note": (
        "Hatched: needless, below half full. Number of emptyings by percent full.",
        "Gearceerd: onnodig, minder dan half vol. Aantal ledigingen naar procent vol.",
    ),
    "plot_known": (
        "How much of the time levels were known, in percent",
        "Hoeveel van de tijd peilen bekend waren, in procent",
    ),
    "plot_worst": (
        "The ten containers that overflowed longest, in hours",
        "De tien containers die het langst overvol waren, in uren",
    ),
    "no_overflow": (
        "No container is known to have overflowed.",
        "Van geen container is bekend dat hij overvol was.",
    ),
    "a_week": (
        "A last week of more or fewer days is shown as one of seven.",
        "Een laatste week met meer of minder dagen staat er als een van zeven.",
    ),
    "how": (
        "How this was counted",
        "Hoe dit geteld is",
    ),
    "how_text": (
        (
            "A container overflows while its level is at 100 % or above, and an overflow day is a"
            " local day with such a time, at {price} each. A level holds until the next, for three"
            " usual intervals at most: after that it is not known, and nothing is counted."
            " Kilometres, hours and costs are of what was really emptied each day, as the planner's"
            " router drives it; they are no bills. The interval is a bootstrap over weeks and over"
            " containers, the wider of the two: in 90 of 100 such cases the usual saving lies in"
            " it."
        ),
        (
            "Een container is overvol zolang het peil 100 % of meer is; een overvolle dag is een"
            " lokale dag met zo'n moment, à {price}. Een peil geldt tot het volgende, hoogstens"
            " drie gewone tussenpozen: daarna is het onbekend en wordt er niets geteld. Kilometers,"
            " uren en kosten zijn van wat elke dag echt geleegd is, zoals de routeplanner het"
            " rijdt; het zijn geen rekeningen. Het interval is een bootstrap over weken en over"
            " containers, de wijdste van de twee: in 90 van 100 zulke gevallen ligt de gewone"
            " besparing erin."
        ),
    ),
}
