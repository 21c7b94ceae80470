"""Seeded schedules of crashes and bad luck, run against the real pool, host and journal."""
