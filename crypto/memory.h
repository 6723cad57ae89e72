/*
 * Whether OpenSSL has been without memory. It then says of a signature that it is bad, of a cipher that there is none,
 * and goes on saying so; not even its errors tell. So whoever keeps what it says asks here first. In keepers.
 */
#ifndef CRYPTO_MEMORY_H
#define CRYPTO_MEMORY_H

#include <stdbool.h>

/* Notes from now on what OpenSSL asks for and does not get. Before it has asked for anything: later it is too late,
   which is logged. */
void crypto_memory_watch(void);

/* Since then, in this process. Nothing but an end of the process makes good for it. */
bool crypto_memory_has_failed(void);

#endif
