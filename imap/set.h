/*
 * Sets of message numbers or UIDs (RFC 3501 "sequence-set", RFC 5182 "$"), and the map between the two.
 *
 * A set holds ascending, disjoint ranges. "*" is resolved against the greatest number when a set is parsed. The map
 * follows the mailbox as the server tells of it: EXISTS adds messages whose UID is not known yet (0), EXPUNGE takes one
 * out, VANISHED takes UIDs out, FETCH responses with UID fill it in.
 */
#ifndef IMAP_SET_H
#define IMAP_SET_H

#include "base/buf.h"

#define IMAP_SET_RANGES_MAX 200000

struct imap_set {
    struct imap_range {
        uint32_t first, last; /* inclusive, first <= last, never 0 */
    } * ranges;
    size_t len, capacity;
};

void imap_set_init(struct imap_set *set);
void imap_set_fini(struct imap_set *set);
void imap_set_clear(struct imap_set *set);
/* Parses "1:3,7,9:*" (the whole span). `star` is what "*" stands for (0: an empty mailbox, "*" then stands for
   nothing).
   `*has_star_out` (or NULL): the set named "*". ERR_MALFORMED, ERR_LIMIT. */
ERR_RETURN enum err imap_set_parse(struct span text, uint32_t star, struct imap_set *set_out, bool *has_star_out);
/* "1:3,7"; nothing for an empty set. */
ERR_RETURN enum err imap_set_format(const struct imap_set *set, struct buf *out);
/* Adding in ascending order is O(1). */
ERR_RETURN enum err imap_set_add(struct imap_set *set, uint32_t number);
ERR_RETURN enum err imap_set_add_range(struct imap_set *set, uint32_t first, uint32_t last);
ERR_RETURN enum err imap_set_copy(const struct imap_set *set, struct imap_set *copy_out);
/* Takes out all that is less than `number`. */
void imap_set_remove_below(struct imap_set *set, uint32_t number);
bool imap_set_has(const struct imap_set *set, uint32_t number);
bool imap_set_is_empty(const struct imap_set *set);
uint64_t imap_set_count(const struct imap_set *set);
/* Steps through all numbers in ascending order: *at starts zeroed. False at the end. */
struct imap_set_step {
    size_t range;
    uint32_t done; /* of that range */
};
bool imap_set_next(const struct imap_set *set, struct imap_set_step *step, uint32_t *number_out);

/* ---- number and UID ---- */

struct imap_map;

ERR_RETURN enum err imap_map_new(struct imap_map **map_out);
void imap_map_free(struct imap_map **map);
void imap_map_clear(struct imap_map *map);
/* EXISTS: more messages, with unknown UIDs. Fewer than before is ERR_MALFORMED (only EXPUNGE takes away). At most
   10,000,000. */
ERR_RETURN enum err imap_map_exists(struct imap_map *map, uint32_t count);
/* EXPUNGE n; `*uid_out` is its UID, or 0. ERR_MALFORMED if there is no such message. */
ERR_RETURN enum err imap_map_expunge(struct imap_map *map, uint32_t number, uint32_t *uid_out);
/* VANISHED without (EARLIER): takes those messages out, known by UID or not. ERR_MALFORMED as imap_map_learn. */
ERR_RETURN enum err imap_map_vanished(struct imap_map *map, const struct imap_set *uids);
/* Message `number` has this UID. ERR_MALFORMED if that contradicts what is known (UIDs ascend with numbers, and never
   change). */
ERR_RETURN enum err imap_map_learn(struct imap_map *map, uint32_t number, uint32_t uid);
uint32_t imap_map_count(const struct imap_map *map);
/* 0 if unknown, or there is no such message. */
uint32_t imap_map_uid(const struct imap_map *map, uint32_t number);
/* 0 if there is no such message, or it is not known to be there. */
uint32_t imap_map_number(const struct imap_map *map, uint32_t uid);
/* True if all UIDs are known. */
bool imap_map_is_known(const struct imap_map *map);
/* The numbers whose UID is not known. */
ERR_RETURN enum err imap_map_unknown(const struct imap_map *map, struct imap_set *numbers_out);
/* UIDs of a set of numbers, and numbers of those UIDs of a set that exist; all must be known. */
ERR_RETURN enum err imap_map_uids(const struct imap_map *map, const struct imap_set *numbers,
                                  struct imap_set *uids_out);
ERR_RETURN enum err imap_map_numbers(const struct imap_map *map, const struct imap_set *uids,
                                     struct imap_set *numbers_out);

#endif
