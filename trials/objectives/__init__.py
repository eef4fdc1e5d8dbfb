"""Objectives: what measures a strategy. The protocol, and the objectives that come with autonat."""
