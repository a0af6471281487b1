"""Client of imagesearchd. `Client` blocks, `AsyncClient` is for asyncio; both have the same methods."""
from ._errors import ImageSearchError
from ._requests import Ranking
from ._results import (Classification, Duplicate, DuplicateGroup, Hit, IndexReport, Label, Results, StoredImage,
                       UpdateReport, UpsertOutcome)
from ._terms import ImageLike, Term, TermLike
from .aio import AsyncClient
from .client import Client

__all__ = ["AsyncClient", "Classification", "Client", "Duplicate", "DuplicateGroup", "Hit", "ImageLike",
           "ImageSearchError", "IndexReport", "Label", "Ranking", "Results", "StoredImage", "Term", "TermLike",
           "UpdateReport", "UpsertOutcome"]
