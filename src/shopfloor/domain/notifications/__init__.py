"""Owns what the platform tells people and programs: notifications, the channels they go over, and where they arrived.

Rooms don't know it: wiring hands it what they publish (apps/notices.py). `notify` writes a notification and a delivery
for each channel in one commit; `deliver` sends one of them from the queue; `summaries` knows whose day or week is over.

    delivery:  pending -> delivered
                       -> retrying -> delivered | failed
                       -> failed (gone, refused, or switched off)     redeliver: back to pending
"""
