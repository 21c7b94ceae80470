"""The demo's agents: a food stall with a front desk, somebody who takes orders, and somebody who brings them.

The same agents and functions serve every model. Nothing here knows the terminal, Ray or a provider.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rojak_ray.agents.agent import Agent
from rojak_ray.agents.function import ToolContext

Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
Dish = Literal["rojak", "laksa", "satay", "teh tarik"]
Size = Literal["small", "regular", "large"]

PRICES: dict[str, float] = {"rojak": 5.0, "laksa": 7.5, "satay": 0.9, "teh tarik": 2.2}
SIZES: dict[str, float] = {"small": 0.8, "regular": 1.0, "large": 1.4}
MOST_OF_ONE_DISH = 20
FURTHEST_KM = 12.0
SCOOTER_KM_PER_HOUR = 25

SCRIPT = (
    "Hi, my name is Mei. When are you open on Sunday?",
    "I would like to order 2 large laksa and 1 small rojak.",
    "Add 50 regular satay to the order.",
    "Sorry, add 10 regular satay and place the order.",
    "Can I track the delivery? I live 4.5 km away.",
)
"""What the demo says by itself when nobody is there to type."""

EXAMPLES = (*SCRIPT, "Show me the menu.", "Remove the small rojak from the order.", "Back to the front desk, please.")


@dataclass(frozen=True)
class Stall:
    """The three agents, who hand over to each other."""

    front_desk: Agent
    orders: Agent
    delivery: Agent

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """Everything the agents can do."""
        return [fn for agent in self._agents for fn in agent.functions if callable(fn)]

    def agent(self, name: str) -> Agent:
        """The agent of this name; the front desk answers for anybody else."""
        return next((agent for agent in self._agents if agent.name == name), self.front_desk)

    @property
    def _agents(self) -> tuple[Agent, ...]:
        return self.front_desk, self.orders, self.delivery


def open_stall(make_agent: Callable[..., Agent]) -> Stall:
    """Make the agents.

    Args:
        make_agent: An agent class, with the model and limits filled in if it needs some.
    """

    def transfer_to_front_desk() -> Agent:
        """Hand the guest back to the Front desk, for opening and closing hours, names, complaints and all else."""
        return front_desk

    def transfer_to_orders() -> Agent:
        """Hand the guest to Orders, who knows the menu, prices and totals, changes orders, confirms and places them.

        On the menu: rojak, laksa, satay, teh tarik.
        """
        return orders

    def transfer_to_delivery() -> Agent:
        """Hand the guest to Delivery, who brings food to guests some km away and tracks it.

        Delivery knows time and fee, and when it is ready and arrives.
        """
        return delivery

    front_desk = make_agent(
        name="Front desk",
        instructions="You welcome the guests of Rojak Corner, a food stall. Answer in one or two sentences.\n"
        "Remember the guest's name. Hand over as soon as a guest wants to order, or asks about a delivery.",
        functions=[note_guest_name, opening_hours, note_complaint, transfer_to_orders, transfer_to_delivery],
    )
    orders = make_agent(
        name="Orders",
        instructions=orders_instructions,
        functions=[
            show_menu,
            show_order,
            add_dish_to_order,
            remove_dish_from_order,
            place_order,
            transfer_to_delivery,
            transfer_to_front_desk,
        ],
    )
    delivery = make_agent(
        name="Delivery",
        instructions="You bring the food of Rojak Corner to its guests. Answer in one or two sentences.\n"
        "Always look things up with your functions. Hand over when a guest wants to order more.",
        functions=[track_delivery, estimate_trip, transfer_to_orders, transfer_to_front_desk],
    )
    return Stall(front_desk, orders, delivery)


def orders_instructions(context_variables: dict[str, Any]) -> str:
    """Instructions that know the guest and what is on the order; rendered anew for every answer."""
    guest = context_variables.get("guest", "the guest")
    return (
        f"You take the order of {guest} at Rojak Corner. Answer in one or two sentences.\n"
        f"On the order so far: {context_variables.get('order') or 'nothing'}. Say the total after every change."
    )


# Front desk


def note_guest_name(name: str, context_variables: dict[str, Any]) -> str:
    """Remember the name of the guest.

    Args:
        name: What the guest is called.
        context_variables: Gets `guest`.
    """
    context_variables["guest"] = name
    return f"Welcome to Rojak Corner, {name}."


def note_complaint(text: str, context_variables: dict[str, Any]) -> str:
    """Write down a complaint: a dish that is cold, wrong, missing, late or not good, or slow service.

    Args:
        text: What is wrong, in the guest's words.
        context_variables: Gets `complaints`.
    """
    context_variables.setdefault("complaints", []).append(text)
    return "I am sorry. It is written down, and the cook reads it tonight."


def opening_hours(day: Day | None = None) -> str:
    """Say when the stall opens and closes.

    Args:
        day: Day of the week; left away for the whole week.
    """
    if day is None:
        return "Open from 11:00 to 21:00, on Friday and Saturday to 23:00; closed on Mondays."
    if day == "Monday":
        return "Closed on Mondays: somebody has to go to the market."
    closes = "23:00" if day in ("Friday", "Saturday") else "21:00"
    return f"{day}: open from 11:00, closed at {closes}."


# Orders


def show_menu() -> dict[str, str]:
    """Show the menu: dishes (rojak, laksa, satay, teh tarik) and their prices for a regular portion."""
    return {dish: f"${price:.2f}" for dish, price in PRICES.items()}


def add_dish_to_order(dish: Dish, quantity: int, context_variables: dict[str, Any], size: Size = "regular") -> str:
    """Put a dish (rojak, laksa, satay, teh tarik) on the order, in a size (small, regular, large).

    Args:
        dish: What to add.
        quantity: How many.
        context_variables: Holds `order`, changed in place, and `total`.
        size: Size of each portion.
    """
    order = context_variables.setdefault("order", {})
    line = f"{size} {dish}"
    wanted = order.get(line, 0) + quantity
    if quantity < 1 or wanted > MOST_OF_ONE_DISH:
        raise ValueError(
            f"The kitchen makes 1 to {MOST_OF_ONE_DISH} of one dish, not {wanted}. Ask for another number."
        )
    order[line] = wanted
    return _sum_up(context_variables)


def remove_dish_from_order(dish: Dish, context_variables: dict[str, Any], size: Size = "regular") -> str:
    """Remove a dish (rojak, laksa, satay, teh tarik) from the order: take it off or cancel it.

    Args:
        dish: What to remove.
        context_variables: Holds `order`, changed in place, and `total`.
        size: Size of the portions.
    """
    order = context_variables.get("order", {})
    if order.pop(f"{size} {dish}", None) is None:
        raise ValueError(f"There is no {size} {dish} on the order. {_listed(order)}")
    return _sum_up(context_variables)


def show_order(context_variables: dict[str, Any]) -> str:
    """Show what is on the order so far, and the total."""
    return f"{_listed(context_variables.get('order', {}))} Total: {context_variables.get('total', '$0.00')}."


def place_order(context_variables: dict[str, Any], call: ToolContext) -> str:
    """Place the order: confirm it, checkout and send it to the kitchen."""
    if not context_variables.get("order"):
        raise ValueError("Nothing is on the order yet. Ask what the guest would like.")
    if number := context_variables.get("order_number"):
        return f"Order {number} is in the kitchen already."
    # A call that is repeated after a crash has the same key, so the guest still gets one number.
    number = "R" + hashlib.sha256(call.idempotency_key.encode()).hexdigest()[:4].upper()
    context_variables["order_number"] = number
    return f"Order {number} is in the kitchen: {context_variables['total']} to pay on delivery."


# Delivery


def track_delivery(context_variables: dict[str, Any]) -> str:
    """Track the delivery: where the food is, and when it will be ready or arrive."""
    number = context_variables.get("order_number")
    if number is None:
        raise LookupError("Nothing was ordered yet. Hand over to Orders.")
    minutes = 5 + 2 * sum(context_variables["order"].values()) // 3
    return (
        f"Order {number} for {context_variables.get('guest', 'the guest')} is in the wok, ready in {minutes} minutes."
    )


def estimate_trip(distance_km: float) -> str:
    """Estimate the trip to a guest who lives some km (kilometers) away: its time, cost and fee.

    Args:
        distance_km: How far away the guest lives.
    """
    if not 0 < distance_km <= FURTHEST_KM:
        raise ValueError(f"The scooter goes up to {FURTHEST_KM:g} km, not {distance_km:g} km.")
    minutes = 4 + math.ceil(distance_km * 60 / SCOOTER_KM_PER_HOUR)
    return f"{distance_km:g} km: {minutes} minutes on the scooter, fee ${1 + 0.6 * distance_km:.2f}."


def _sum_up(context_variables: dict[str, Any]) -> str:
    """Keep the total of a changed order beside it, and say both. What was placed before must be placed again."""
    order: dict[str, int] = context_variables["order"]
    parts = [(line.partition(" "), quantity) for line, quantity in order.items()]
    total = sum(quantity * PRICES[dish] * SIZES[size] for (size, _, dish), quantity in parts)
    context_variables["total"] = f"${total:.2f}"
    context_variables.pop("order_number", None)
    return f"{_listed(order)} Total: {context_variables['total']}."


def _listed(order: dict[str, int]) -> str:
    lines = ", ".join(f"{quantity} {line}" for line, quantity in order.items())
    return f"On the order: {lines or 'nothing'}."
