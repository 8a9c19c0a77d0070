"""Which addresses show the same photo. Reads and writes nothing.

iNaturalist's photos carry their number in every address, in whatever size and on whichever of its hosts; GBIF and
Openverse hand out the same ones. On any other host the sizes of one number are one photo too: copies of iNaturalist
and sites made like it. Pictures that Wikimedia scales down are their originals. Any other photo is its address
without what makes no difference: scheme, case of the host, standard port, `www.`, fragment, escapes that need not be,
blanks that should be escaped, parameters that only follow visitors.
"""

from __future__ import annotations

import polars as pl

from tasks.core.inaturalist import PHOTO_HOSTS, SIZES

_INATURALIST = rf"^//(?:{PHOTO_HOSTS})/photos/(\d+)/?(?:\?.*)?$"
# The ending is missing in some real addresses: `/photos/25/square.?1545368340`.
_SIZED = rf"^(//.*)/photos/(\d+)/(?:{SIZES})\.[A-Za-z]*(?:\?.*)?$"
# `…/commons/thumb/9/9b/P.jpg/960px-P.jpg` is scaled down from `…/commons/9/9b/P.jpg`. Further pages of it are others.
_SCALED = (
    r"^(//upload\.wikimedia\.org/wikipedia/[^/]+)/thumb(/[0-9a-f]/[0-9a-f]{2}/[^/?]+)"
    r"/(?:lossy-|lossless-)?(?:page1-)?\d+px-[^/]*$"
)
_FOLLOWING = r"([?&])(?:utm_[a-z]+|fbclid|gclid|mc_[ce]id)=[^&]*"


def photo_identity(url: pl.Expr) -> pl.Expr:
    """Return the identity of the photo at each address: equal for two addresses of one photo."""
    same = canonical(url).str.replace(_SIZED, "$1/photos/$2").str.replace(_SCALED, "$1$2")
    number = same.str.extract(_INATURALIST, 1)
    return pl.when(number.is_not_null()).then(pl.lit("inaturalist:") + number).otherwise(same)


def canonical(url: pl.Expr) -> pl.Expr:
    """Return each http(s) address in the one form that its spellings share; other schemes as they are."""
    host = url.str.extract(r"(?i)^https?://([^/?#]*)", 1).str.to_lowercase()
    host = host.str.replace(r"^www\.", "").str.replace(r":(?:80|443)$", "")
    rest = url.str.extract(r"(?i)^https?://[^/?#]*([^#]*)", 1)
    rest = rest.str.replace_all(_FOLLOWING, "$1").str.replace_all("&&+", "&")
    rest = rest.str.replace_all(r"\?&+", "?").str.replace(r"[?&]+$", "")
    for escape, plain in ((" ", "%20"), ("%7[Ee]", "~"), ("%2[Dd]", "-"), ("%2[Ee]", "."), ("%5[Ff]", "_")):
        rest = rest.str.replace_all(escape, plain)
    path = pl.when(rest.str.starts_with("/")).then(rest).otherwise(pl.lit("/") + rest)
    return pl.when(host.is_not_null()).then(pl.lit("//") + host + path).otherwise(url)
