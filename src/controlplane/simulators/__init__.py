"""Marketplaces to rehearse against: the documented wire behaviour of real ones, and their misbehaviour on request.

They share no code with the adapters, so that a misreading of a marketplace's documents is not made twice in the same
way, and the core never imports them.
"""
