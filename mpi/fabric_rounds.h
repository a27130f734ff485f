/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who measures with whom, and when: a round-robin tournament. In a round every node has one partner
 * at most, so that pairs do not disturb each other; over all rounds every two meet once. Pure.
 * Threading: any.
 */
#pragma once

/* Rounds of a full tournament of `nodes`, which is at least 2. */
int fabric_rounds_count(int nodes);

/* Whom `node` meets in a round, 0 to fabric_rounds_count() - 1; -1: nobody, there is an odd one. */
int fabric_rounds_partner(int nodes, int round, int node);

/*
 * The round to play as number `turn`, if there may not be time for all: the first ones are spread
 * over all of them, and over all turns each comes once.
 */
int fabric_rounds_at(int nodes, int turn);
