"""The array type of result objects: float64, and known to pydantic so that results can be written to and read from JSON."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, GetPydanticSchema, PlainSerializer
from pydantic_core import core_schema


def _array(value: Any) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64)


Floats = Annotated[
    NDArray[np.float64],
    GetPydanticSchema(lambda _source, _handler: core_schema.is_instance_schema(np.ndarray)),
    BeforeValidator(_array),
    PlainSerializer(lambda array: array.tolist()),
]
Bools = NDArray[np.bool_]
