/*
 * The state directory: made before anything runs in it, owned by whoever will use it.
 */
#ifndef PROXY_STATE_H
#define PROXY_STATE_H

#include "proxy/config.h"

/* Makes the state directory and what belongs in it (store, TLS certificate, each account's key cache and own GnuPG
   home), all 0700, given to the configured user when we are root. What exists is left as it is. */
ERR_RETURN enum err proxy_state_prepare(const struct config *config);
/* The same for one account alone, for commands that work without `serve`. */
ERR_RETURN enum err proxy_state_prepare_account(const struct config *config, const struct config_account *account);
/* The paths of the per-install certificate and its key. */
ERR_RETURN enum err proxy_state_certificate(const struct config *config, char certificate_out[CONFIG_PATH_SIZE],
                                            char key_out[CONFIG_PATH_SIZE]);

#endif
