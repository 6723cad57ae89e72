/*
 * The time of judgement. Everything that asks "is this key valid now" asks here, so that --at and tests can answer.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_TEXT_SIZE 24 /* "2026-11-20T12:00:00Z" and a NUL fit */

/* Seconds since 1970 UTC: the real time, or what clock_fix was given. */
int64_t clock_now(void);
/* The real time, whatever clock_now was given: for how fresh an answer from outside is. */
int64_t clock_real(void);
/* Fixes clock_now to `seconds`; for --at and for tests. */
void clock_fix(int64_t seconds);
bool clock_is_fixed(void);
/* Waits until the real time is a later second than `seconds`: of what is signed within one second nobody can tell which
   came later. False, at once: that is more than two seconds off. */
bool clock_wait_after(int64_t seconds);
/* Milliseconds that only ever rise, for durations. */
uint64_t clock_monotonic_ms(void);
/* RFC 3339 in UTC. */
void clock_format(int64_t seconds, char text_out[CLOCK_TEXT_SIZE]);
/* Reads "YYYY-MM-DD", "YYYY-MM-DDTHH:MM:SSZ" or "@seconds"; ERR_USAGE otherwise. */
ERR_RETURN enum err clock_parse(const char *text, int64_t *seconds_out);

#endif
