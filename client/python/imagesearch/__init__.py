"""Client of imagesearchd. `Client` blocks, `AsyncClient` is for asyncio; both have the same methods."""
from ._errors import ImageSearchError
from ._requests import Ranking
from ._results import Hit, IndexReport, Results, StoredImage, UpsertOutcome
from ._terms import ImageLike, Term, TermLike
from .aio import AsyncClient
from .client import Client

__all__ = ["AsyncClient", "Client", "Hit", "ImageLike", "ImageSearchError", "IndexReport", "Ranking", "Results",
           "StoredImage", "Term", "TermLike", "UpsertOutcome"]
