"""Workouts: rows written and read."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import func, insert, select

from app.models import Workout
from app.state import Shared

router = APIRouter(prefix="/workouts")


class NewWorkout(BaseModel):
    """What a client sends: its own number, a note, and the run of a test it belongs to."""

    number: int = Field(ge=-(2**63), lt=2**63)
    note: str = Field(default="", max_length=2000, pattern="^[^\x00]*$")
    run: str = Field(default="", max_length=200, pattern="^[^\x00]*$")


class StoredWorkout(NewWorkout):
    """A row."""

    id: int
    created_at: datetime


class Count(BaseModel):
    """How many rows there are, and how many different numbers they hold."""

    count: int
    distinct: int


@router.post("", status_code=201)
async def add(shared: Shared, workout: NewWorkout) -> StoredWorkout:
    """Insert one row, also when the same number is there already."""
    statement = insert(Workout).values(**workout.model_dump()).returning(Workout.id, Workout.created_at)
    async with shared.engine.begin() as connection:
        row = (await connection.execute(statement)).one()
    return StoredWorkout(id=row.id, created_at=row.created_at, **workout.model_dump())


@router.get("")
async def newest(shared: Shared, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> list[StoredWorkout]:
    """The newest rows first."""
    columns = (Workout.id, Workout.number, Workout.note, Workout.run, Workout.created_at)
    statement = select(*columns).order_by(Workout.id.desc()).limit(limit)
    async with shared.engine.connect() as connection:
        rows = await connection.execute(statement)
    return [StoredWorkout.model_validate(dict(row)) for row in rows.mappings()]


@router.get("/count")
async def count(shared: Shared, run: str | None = None) -> Count:
    """Rows and different numbers of one run, or of all."""
    statement = select(func.count(), func.count(Workout.number.distinct()))
    if run is not None:
        statement = statement.where(Workout.run == run)
    async with shared.engine.connect() as connection:
        rows, numbers = (await connection.execute(statement)).one()
    return Count(count=rows, distinct=numbers)
