"""Countries to the regions that offers name."""

from __future__ import annotations

_CODES = {
    "na": "US CA MX",
    "eu": (
        "AD AL AT BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK "
        "MT NL NO PL PT RO RS SE SI SK SM UA UK VA XK"
    ),
    "apac": "AU BD BN CN FJ HK ID IN JP KH KR LA LK MM MN MO MY NP NZ PH PK SG TH TL TW VN",
}
_REGION_OF_CODE = {code: region for region, codes in _CODES.items() for code in codes.split()}

_NAMES = {
    "na": "united states, united states of america, usa, canada, mexico",
    "eu": (
        "austria, belgium, bulgaria, croatia, cyprus, czech republic, czechia, denmark, estonia, finland, france, "
        "germany, great britain, greece, hungary, iceland, ireland, italy, latvia, lithuania, luxembourg, malta, "
        "moldova, netherlands, the netherlands, norway, poland, portugal, romania, serbia, slovakia, slovenia, spain, "
        "sweden, switzerland, ukraine, united kingdom"
    ),
    "apac": (
        "australia, china, hong kong, india, indonesia, japan, korea, malaysia, new zealand, pakistan, philippines, "
        "republic of korea, singapore, south korea, taiwan, thailand, vietnam, viet nam"
    ),
}
_REGION_OF_NAME = {name: region for region, names in _NAMES.items() for name in names.split(", ")}


def region_of(country: str) -> str:
    """`na`, `eu` (the continent) or `apac` of a two-letter code or an English name; empty for the rest of the world."""
    country = country.strip()
    return _REGION_OF_CODE.get(country.upper(), "") or _REGION_OF_NAME.get(country.lower(), "")
