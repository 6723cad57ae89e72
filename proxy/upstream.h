/*
 * From what the configuration says of a server to what the protocols' client sides are told.
 */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include "imap/client.h"
#include "proxy/config.h"
#include "smtp/client.h"

enum smtp_security proxy_upstream_smtp_security(const struct config_upstream *upstream);
enum imap_security proxy_upstream_imap_security(const struct config_upstream *upstream);

#endif
