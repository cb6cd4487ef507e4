"""What files say, in the languages that drivers read. Pure."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from stoep_gateway.config_planning import Language

__all__ = ["Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """The words, numbers and dates of one language, in the site's own time."""

    language: Language
    timezone: datetime.tzinfo

    def __call__(self, key: str, **values: object) -> str:
        """Return a phrase; what has no translation is said as it is."""
        phrase = _PHRASES[self.language].get(key, key.replace("_", " "))
        return phrase.format(**values) if values else phrase

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number with the language's decimal sign."""
        text = f"{value:.{digits}f}"
        return text.replace(".", ",") if self.language == "nl" else text

    def percent(self, share: float) -> str:
        """Return a probability."""
        return "<\u00a01\u00a0%" if share < 0.01 else f"{self.number(100 * share)}\u00a0%"

    def km(self, km: float) -> str:
        """Return a distance."""
        return f"{self.number(km, 1)}\u00a0km"

    def m3(self, litres: float) -> str:
        """Return a volume."""
        return f"{self.number(litres / 1000, 1)}\u00a0m³"

    def duration(self, hours: float) -> str:
        """Return hours and minutes, such as 3:45 h."""
        minutes = round(60 * hours)
        return f"{minutes // 60}:{minutes % 60:02}\u00a0{self('h')}"

    def clock(self, utc: str) -> str:
        """Return the time of day of an instant."""
        return self._local(utc).strftime("%H:%M")

    def instant(self, utc: str) -> str:
        """Return day and time of an instant."""
        local = self._local(utc)
        return f"{local.day} {self._months[local.month - 1]} {local:%H:%M}"

    def date(self, iso: str) -> str:
        """Return a date with its weekday."""
        day = datetime.date.fromisoformat(iso)
        weekday = _WEEKDAYS[self.language].split()[day.weekday()]
        return f"{weekday} {day.day} {self._months[day.month - 1]} {day.year}"

    @property
    def _months(self) -> list[str]:
        return _MONTHS[self.language].split()

    def _local(self, utc: str) -> datetime.datetime:
        return datetime.datetime.fromisoformat(utc).astimezone(self.timezone)


_WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "nl": "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
}
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}
_PHRASES = {
    "en": {
        "round_of": "Round of {truck}",
        "rounds": "Rounds",
        "provisional": "PROVISIONAL",
        "provisional_rounds": "Provisional: these rounds will be planned anew before they begin.",
        "planned": "planned {at}",
        "page": "page {page} of {pages}",
        # facts
        "leaves": "Leaves",
        "back": "Back",
        "containers": "Containers",
        "unloads": "Unloading",
        "way": "Distance",
        "time": "Time",
        "waste": "Waste, loose",
        "cost": "Cost",
        "h": "h",
        # columns
        "done_column": "Done",
        "number": "No.",
        "at": "At",
        "container": "Container",
        "full": "Full",
        "leg": "Way",
        "remarks": "Remarks",
        "weight": "Weight:",
        "truck": "Truck",
        "status": "Status",
        "reason": "Why",
        "then": "Expected",
        "overflow": "Overflows",
        "truck_load": "truck\u00a0{load}",
        "and": "and",
        "so_full": "{full} full",
        "only_at": "only {hours}",
        "open_at": "open {hours}",
        "near_side": "stop on its side of the street",
        "unload_at": "UNLOAD: {place}",
        "leaving": "Leave: {place}",
        "home": "Back: {place}",
        "the_yard": "the yard",
        "driver": "Driver",
        "km_begin": "Odometer, start",
        "km_end": "Odometer, end",
        "map": "Map",
        "map_about": "Straight lines, not roads. The numbers are those of the stops.",
        "map_all": "Straight lines, not roads. Hollow: left out. Crossed: deferred.",
        "not_drawn": "{count} without a place in the configuration are not drawn.",
        "off_the_map": "{place} (off the map)",
        "deferred": "Deferred: should be emptied, and is not",
        "left_out": "Not in these rounds",
        "those_too_empty": "Too empty, {count}: {names}.",
        "nothing_left": "Nothing is left out.",
        "about_left": "Full: now. Expected: by the next round, if it is not emptied.",
        "of_distances": "Of the distances: {note}",
        "rests_on": "Oldest level: {age} h. {distances}. "
        "{solver}, {iterations} iterations, seed {seed}.",
        "rests_on_none": "No level is known. {distances}. {solver}.",
        # distances
        "table": "Road distances",
        "roads": "Road distances",
        "osrm": "Road distances",
        "estimate": "Estimated distances",
        "mixed": "Distances partly estimated",
        # reasons
        "manual": "asked for",
        "age": "not emptied for too long",
        "overflow_risk": "risk of overflow",
        "on_the_way": "on the way, worth taking along",
        "truck_full": "truck is full",
        "end_of_round": "end of the round",
        "shift_too_short": "the shift is too short",
        "larger_than_truck": "holds more than the truck",
        "heavier_than_truck": "weighs more than the truck can take",
        "too_far": "too far for the truck",
        "window_missed": "nobody can be there at its hours",
        "no_truck": "no truck may empty it",
        "no_data": "has sent no level yet",
        "too_empty": "too empty",
        "not_worth_the_way": "not worth the way",
        "excluded": "excluded by the office",
        "skipped": "skipped by the driver",
        "done": "done already",
        "overflow_chance": "risk of overflow {chance}",
        "worth_less": "worth {prize}\u00a0€, the way costs {detour}\u00a0€",
        "bad_data": "level doubtful: bad data",
        # status
        "stop_done": "DONE",
        "stop_skipped": "SKIPPED",
        "to_drive": "to drive",
        "round_done": "done",
        "nothing_to_do": "nothing to do: no container is worth the way",
        "not_needed": "not needed: other trucks do it all",
        "all_deferred": "no container could be taken",
        "out_of_service": "out of service",
    },
    "nl": {
        "round_of": "Ronde van {truck}",
        "rounds": "Rondes",
        "provisional": "VOORLOPIG",
        "provisional_rounds": "Voorlopig: deze rondes worden nog opnieuw gepland voor ze beginnen.",
        "planned": "gepland {at}",
        "page": "blad {page} van {pages}",
        "leaves": "Vertrek",
        "back": "Terug",
        "containers": "Containers",
        "unloads": "Lossen",
        "way": "Afstand",
        "time": "Duur",
        "waste": "Afval, los",
        "cost": "Kosten",
        "h": "u",
        "done_column": "Klaar",
        "number": "Nr.",
        "at": "Tijd",
        "container": "Container",
        "full": "Vol",
        "leg": "Rit",
        "remarks": "Opmerkingen",
        "weight": "Gewicht:",
        "truck": "Wagen",
        "status": "Stand",
        "reason": "Waarom",
        "then": "Verwacht",
        "overflow": "Kans op overlopen",
        "truck_load": "wagen\u00a0{load}",
        "and": "en",
        "so_full": "{full} vol",
        "only_at": "alleen {hours}",
        "open_at": "open {hours}",
        "near_side": "stop aan de kant van de container",
        "unload_at": "LOSSEN: {place}",
        "leaving": "Vertrek: {place}",
        "home": "Terug: {place}",
        "the_yard": "de werf",
        "driver": "Chauffeur",
        "km_begin": "Km-stand begin",
        "km_end": "Km-stand einde",
        "map": "Kaart",
        "map_about": "Rechte lijnen, geen wegen. De nummers zijn die van de stops.",
        "map_all": "Rechte lijnen, geen wegen. Open: niet in de ronde. Met kruis: uitgesteld.",
        "not_drawn": "{count} zonder plaats in de configuratie staan er niet op.",
        "off_the_map": "{place} (buiten de kaart)",
        "deferred": "Uitgesteld: had geleegd moeten worden, maar dat lukt niet",
        "left_out": "Niet in deze rondes",
        "those_too_empty": "Te leeg, {count}: {names}.",
        "nothing_left": "Er is niets overgeslagen.",
        "about_left": "Vol: nu. Verwacht: bij de volgende ronde, als er niet geleegd wordt.",
        "of_distances": "Over de afstanden (Engels): {note}",
        "rests_on": "Oudste niveau: {age} u. {distances}. "
        "{solver}, {iterations} iteraties, seed {seed}.",
        "rests_on_none": "Er is geen niveau bekend. {distances}. {solver}.",
        "table": "Afstanden over de weg",
        "roads": "Afstanden over de weg",
        "osrm": "Afstanden over de weg",
        "estimate": "Geschatte afstanden",
        "mixed": "Afstanden deels geschat",
        "manual": "op verzoek",
        "age": "te lang niet geleegd",
        "overflow_risk": "kans op overlopen",
        "on_the_way": "ligt op de route, de moeite waard",
        "truck_full": "wagen vol",
        "end_of_round": "einde van de ronde",
        "shift_too_short": "de dienst is te kort",
        "larger_than_truck": "er zit meer in dan in de wagen past",
        "heavier_than_truck": "te zwaar voor de wagen",
        "too_far": "te ver voor de wagen",
        "window_missed": "niemand kan er op de toegestane tijd zijn",
        "no_truck": "geen enkele wagen mag deze legen",
        "no_data": "nog geen meting ontvangen",
        "too_empty": "te leeg",
        "not_worth_the_way": "de rit niet waard",
        "excluded": "door kantoor uitgesloten",
        "skipped": "door de chauffeur overgeslagen",
        "done": "al geleegd",
        "overflow_chance": "kans op overlopen {chance}",
        "worth_less": "levert {prize}\u00a0€ op, de rit kost {detour}\u00a0€",
        "bad_data": "niveau onzeker: slechte metingen",
        "stop_done": "KLAAR",
        "stop_skipped": "OVERGESLAGEN",
        "to_drive": "te rijden",
        "round_done": "klaar",
        "nothing_to_do": "niets te doen: geen container is de rit waard",
        "not_needed": "niet nodig: andere wagens doen alles",
        "all_deferred": "er kon geen container mee",
        "out_of_service": "buiten dienst",
    },
}
