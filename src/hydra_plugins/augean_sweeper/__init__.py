"""Hydra plugin `hydra/sweeper: augean`; Hydra imports it at every start, so it stays light."""
