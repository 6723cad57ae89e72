#include "tests/servers/smtpd.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fill(struct smtpd_io *io)
{
    long len;
    if (io->ssl != NULL)
        len = SSL_read(io->ssl, io->input, sizeof(io->input));
    else
        len = read(io->fd, io->input, sizeof(io->input));
    if (len <= 0) {
        io->is_over = true;
        return false;
    }
    io->at = 0;
    io->len = (size_t)len;
    if (io->server->wire != NULL) {
        pthread_mutex_lock(&io->server->lock);
        fwrite(io->input, 1, io->len, io->server->wire);
        fflush(io->server->wire);
        pthread_mutex_unlock(&io->server->lock);
    }
    return true;
}

int smtpd_get(struct smtpd_io *io)
{
    if (io->at == io->len && (io->is_over || !fill(io)))
        return -1;
    return (unsigned char)io->input[io->at++];
}

long smtpd_get_line(struct smtpd_io *io, char *line, size_t size)
{
    size_t len = 0;
    for (int byte; (byte = smtpd_get(io)) >= 0;) {
        if (byte == '\n') {
            if (len > 0 && line[len - 1] == '\r')
                len--;
            line[len] = '\0';
            return (long)len;
        }
        if (len + 1 >= size)
            return -1;
        line[len++] = (char)byte;
    }
    return -1;
}

void smtpd_put(struct smtpd_io *io, const char *format, ...)
{
    char text[8192];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len <= 0 || (size_t)len >= sizeof(text) || io->is_over)
        return;
    size_t sent = 0;
    while (sent < (size_t)len) {
        long count = io->ssl != NULL ? SSL_write(io->ssl, text + sent, len - (int)sent)
                                     : write(io->fd, text + sent, (size_t)len - sent);
        if (count <= 0) {
            io->is_over = true;
            return;
        }
        sent += (size_t)count;
    }
}

bool smtpd_start_tls(struct smtpd_io *io)
{
    io->ssl = SSL_new(io->server->context);
    io->at = io->len = 0;
    if (io->ssl == NULL || SSL_set_fd(io->ssl, io->fd) != 1 || SSL_accept(io->ssl) != 1) {
        io->is_over = true;
        return false;
    }
    return true;
}

static void parse_fault(struct smtpd *server, char *line)
{
    char *colon = strchr(line, ':'), *equals = strchr(line, '=');
    if (colon == NULL || equals == NULL || equals < colon || server->faults_len == 64)
        return;
    *colon = *equals = '\0';
    struct smtpd_fault *fault = &server->fault[server->faults_len++];
    memset(fault, 0, sizeof(*fault));
    snprintf(fault->point, sizeof(fault->point), "%.15s", line);
    fault->at = colon[1] == '*' ? 0 : strtol(colon + 1, NULL, 10);
    snprintf(fault->action, sizeof(fault->action), "%.511s", equals + 1);
    fault->action[strcspn(fault->action, "\r\n")] = '\0';
}

/* Reads the file again when it was replaced; all counts begin anew then. */
static void refresh(struct smtpd *server)
{
    struct stat status;
    char line[600];
    if (server->faults == NULL || stat(server->faults, &status) != 0)
        return;
    int64_t stamp = status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec + (int64_t)status.st_ino;
    if (stamp == server->faults_stamp)
        return;
    server->faults_stamp = stamp;
    server->faults_len = 0;
    FILE *file = fopen(server->faults, "r");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL)
        parse_fault(server, line);
    fclose(file);
}

const char *smtpd_fault_at(struct smtpd *server, const char *point)
{
    const char *action = NULL;
    pthread_mutex_lock(&server->lock);
    refresh(server);
    for (size_t i = 0; i < server->faults_len; i++) {
        struct smtpd_fault *fault = &server->fault[i];
        if (strcmp(fault->point, point) != 0)
            continue;
        fault->seen++;
        if (action == NULL && (fault->at == 0 || fault->at == fault->seen))
            action = fault->action;
    }
    pthread_mutex_unlock(&server->lock);
    return action;
}

long smtpd_fault_in_body(struct smtpd *server, const char **action_out)
{
    long at = -1;
    pthread_mutex_lock(&server->lock);
    refresh(server);
    for (size_t i = 0; i < server->faults_len; i++) {
        if (strcmp(server->fault[i].point, "body") == 0) {
            at = server->fault[i].at;
            *action_out = server->fault[i].action;
        }
    }
    pthread_mutex_unlock(&server->lock);
    return at;
}
