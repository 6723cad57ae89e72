#include "tests/servers/common.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void parse_fault(struct server *server, char *line)
{
    char *colon = strchr(line, ':'), *equals = strchr(line, '=');
    if (colon == NULL || equals == NULL || equals < colon || server->faults_len == SERVER_FAULTS_MAX)
        return;
    *colon = *equals = '\0';
    struct server_fault *fault = &server->fault[server->faults_len++];
    memset(fault, 0, sizeof(*fault));
    snprintf(fault->point, sizeof(fault->point), "%.23s", line);
    fault->at = colon[1] == '*' ? 0 : strtol(colon + 1, NULL, 10);
    snprintf(fault->action, sizeof(fault->action), "%.511s", equals + 1);
    fault->action[strcspn(fault->action, "\r\n")] = '\0';
}

/* Reads the file again when it was replaced; all counts begin anew then. */
static void refresh(struct server *server)
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

const char *server_fault_at(struct server *server, const char *point, char action_out[512])
{
    bool is_due = false;
    pthread_mutex_lock(&server->lock);
    refresh(server);
    for (size_t i = 0; i < server->faults_len; i++) {
        struct server_fault *fault = &server->fault[i];
        if (strcmp(fault->point, point) != 0)
            continue;
        fault->seen++;
        if (!is_due && (fault->at == 0 || fault->at == fault->seen)) {
            memcpy(action_out, fault->action, sizeof(fault->action));
            is_due = true;
        }
    }
    pthread_mutex_unlock(&server->lock);
    return is_due ? action_out : NULL;
}

long server_fault_in_body(struct server *server, char action_out[512])
{
    long at = -1;
    pthread_mutex_lock(&server->lock);
    refresh(server);
    for (size_t i = 0; i < server->faults_len; i++) {
        if (strcmp(server->fault[i].point, "body") == 0) {
            at = server->fault[i].at;
            memcpy(action_out, server->fault[i].action, sizeof(server->fault[i].action));
        }
    }
    pthread_mutex_unlock(&server->lock);
    return at;
}
