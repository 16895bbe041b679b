"""Money is integers: prices in pico-USD per unit, amounts in nano-USD."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

NANOS_PER_USD = 1_000_000_000
PICOS_PER_NANO = 1_000


def nanos_from_usd(usd: Decimal | str | int) -> int:
    """Nano-USD for an amount in USD; a fraction of a nano-dollar counts as a whole one."""
    return int((Decimal(usd) * NANOS_PER_USD).to_integral_value(ROUND_CEILING))


def nanos_from_picos(picos: int) -> int:
    """Nano-USD for pico-USD, rounded up: a bill is never booked below what was used."""
    return -(-picos // PICOS_PER_NANO)


def picos_per_unit(usd_per_million: Decimal | str) -> int:
    """Pico-USD for one unit at a price per million units. `3.00` USD a million is 3,000,000 pico-USD each."""
    return int((Decimal(usd_per_million) * 1_000_000).to_integral_value(ROUND_CEILING))


def format_usd(nanos: int) -> str:
    """`$0.0042` to people: four decimals below one cent's hundredth, two from one dollar on."""
    usd = Decimal(nanos) / NANOS_PER_USD
    return f"${usd:,.2f}" if abs(usd) >= 1 else f"${usd:.4f}"
