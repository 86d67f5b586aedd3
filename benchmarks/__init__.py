"""The figures of the README: each measured beside its floor or a peer in the same run, bounded in time.

``make bench`` prints them as a Markdown table. Absolute figures move from machine to machine and from run to run; the
ratios of one run hold. It must not write anything into the checkout, nor fail a build because a machine is slow.
"""
