"""Collects human judgement: votes on images, the levels that they decide, and evaluators' scores of captions."""
