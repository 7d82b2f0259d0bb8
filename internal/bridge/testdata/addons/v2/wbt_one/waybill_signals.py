"""Calls of ours that the bridge is to time; it reads this file and never runs it."""
CALLS = {
    "lane_plan": [("wbt.lane", "action_plan")],
    "lane_lost": [("wbt.lane", "action_that_nobody_wrote")],
}
