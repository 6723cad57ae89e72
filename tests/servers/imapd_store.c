/* Mailboxes on disk. In each folder a journal, which is read at the start and written anew then:
 *
 *   validity N | next UID MODSEQ | recent UID | message UID MODSEQ DATE FLAGS | gone UID MODSEQ
 */
#include "tests/servers/imapd.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 4096
#define FLAGS_MAX_LEN 2000

/* ---- names ---- */

/* A mailbox's folder: its name, with all that is no letter, digit, "-" or "_" as %HH. */
static char *folder_of(const struct imapd *imapd, const char *name)
{
    struct text path = {0};
    text_addf(&path, "%s/", imapd->server.store);
    for (; *name != '\0'; name++) {
        if (isalnum((unsigned char)*name) || *name == '-' || *name == '_')
            text_add(&path, name, 1);
        else
            text_addf(&path, "%%%02X", (unsigned)(unsigned char)*name);
    }
    return path.bytes;
}

static char *name_of(const char *folder)
{
    struct text name = {0};
    text_add(&name, "", 0);
    for (; *folder != '\0'; folder++) {
        char hex[3] = "", byte = *folder;
        if (byte == '%' && isxdigit((unsigned char)folder[1]) && isxdigit((unsigned char)folder[2])) {
            memcpy(hex, folder + 1, 2);
            byte = (char)strtol(hex, NULL, 16);
            folder += 2;
        }
        text_add(&name, &byte, 1);
    }
    return name.bytes;
}

struct mailbox *mailbox_find(struct imapd *imapd, const char *name)
{
    for (struct mailbox *mailbox = imapd->mailboxes; mailbox != NULL; mailbox = mailbox->next)
        if (!mailbox->is_gone &&
            (strcasecmp(name, "INBOX") == 0 ? strcmp(mailbox->name, "INBOX") : strcmp(mailbox->name, name)) == 0)
            return mailbox;
    return NULL;
}

/* ---- messages ---- */

static char *path_of(const struct mailbox *mailbox, uint32_t uid, const char *ending)
{
    struct text path = {0};
    text_addf(&path, "%s/%" PRIu32 "%s", mailbox->folder, uid, ending);
    return path.bytes;
}

struct message *mailbox_message(struct mailbox *mailbox, uint32_t uid)
{
    size_t from = 0, to = mailbox->len;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (mailbox->messages[middle].uid < uid)
            from = middle + 1;
        else
            to = middle;
    }
    return from < mailbox->len && mailbox->messages[from].uid == uid ? &mailbox->messages[from] : NULL;
}

static struct message *append_message(struct mailbox *mailbox, uint32_t uid)
{
    if (mailbox->len == mailbox->capacity) {
        size_t capacity = mailbox->capacity * 2 + 64;
        struct message *messages = realloc(mailbox->messages, capacity * sizeof(*messages));
        if (messages == NULL)
            abort();
        mailbox->messages = messages;
        mailbox->capacity = capacity;
    }
    struct message *message = &mailbox->messages[mailbox->len++];
    *message = (struct message){.uid = uid};
    if (uid >= mailbox->uid_next)
        mailbox->uid_next = uid + 1;
    return message;
}

static void drop_message(struct mailbox *mailbox, uint32_t uid)
{
    struct message *message = mailbox_message(mailbox, uid);
    if (message == NULL)
        return;
    free(message->flags);
    mailbox->len--;
    size_t index = (size_t)(message - mailbox->messages);
    memmove(message, message + 1, (mailbox->len - index) * sizeof(*message));
}

static void note(struct mailbox *mailbox, const struct message *message)
{
    fprintf(mailbox->journal, "message %" PRIu32 " %" PRIu64 " %" PRId64 " %s\n", message->uid, message->modseq,
            message->date, message->flags);
    fflush(mailbox->journal);
}

uint32_t mailbox_add(struct mailbox *mailbox, struct slice content, const char *flags, int64_t date)
{
    uint32_t uid = mailbox->uid_next;
    char *path = path_of(mailbox, uid, ".new"), *final = path_of(mailbox, uid, ".eml");
    FILE *file = fopen(path, "wbe");
    if (file == NULL || fwrite(content.at, 1, content.len, file) != content.len || fclose(file) != 0 ||
        rename(path, final) != 0)
        server_fail("cannot store a message");
    free(path);
    free(final);
    struct message *message = append_message(mailbox, uid);
    message->modseq = ++mailbox->modseq;
    message->date = date;
    message->flags = flags_change(flags, "", "");
    note(mailbox, message);
    return uid;
}

void mailbox_set_flags(struct mailbox *mailbox, struct message *message, const char *flags)
{
    char *copy = strdup(flags);
    free(message->flags);
    message->flags = copy;
    message->modseq = ++mailbox->modseq;
    note(mailbox, message);
}

void mailbox_expunge(struct mailbox *mailbox, uint32_t uid)
{
    char *path = path_of(mailbox, uid, ".eml");
    fprintf(mailbox->journal, "gone %" PRIu32 " %" PRIu64 "\n", uid, ++mailbox->modseq);
    fflush(mailbox->journal);
    drop_message(mailbox, uid);
    unlink(path);
    free(path);
}

void mailbox_set_recent(struct mailbox *mailbox)
{
    mailbox->first_recent = mailbox->uid_next;
    fprintf(mailbox->journal, "recent %" PRIu32 "\n", mailbox->first_recent);
    fflush(mailbox->journal);
}

bool mailbox_read(const struct mailbox *mailbox, uint32_t uid, struct text *content_out)
{
    char *path = path_of(mailbox, uid, ".eml"), piece[65536];
    FILE *file = fopen(path, "rbe");
    free(path);
    if (file == NULL)
        return false;
    text_add(content_out, "", 0);
    for (size_t len; (len = fread(piece, 1, sizeof(piece), file)) > 0;)
        text_add(content_out, piece, len);
    fclose(file);
    return true;
}

/* ---- the journal ---- */

static void replay(struct mailbox *mailbox, char *line)
{
    char *flags = "";
    unsigned long long number[3] = {0};
    char word[16] = "";
    int used = 0;
    if (strchr(line, '\n') == NULL)
        return;
    line[strcspn(line, "\n")] = '\0';
    sscanf(line, "%15s %llu %llu %llu %n", word, &number[0], &number[1], &number[2], &used);
    flags = used > 0 ? line + used : flags;
    uint32_t uid = (uint32_t)number[0];
    if (strcmp(word, "validity") == 0)
        mailbox->uid_validity = uid;
    else if (strcmp(word, "recent") == 0)
        mailbox->first_recent = uid;
    else if (strcmp(word, "next") == 0)
        mailbox->uid_next = uid;
    else if (strcmp(word, "gone") == 0)
        drop_message(mailbox, uid);
    else if (strcmp(word, "message") == 0) {
        struct message *message = mailbox_message(mailbox, uid);
        message = message != NULL ? message : append_message(mailbox, uid);
        free(message->flags);
        message->flags = strdup(flags);
        message->modseq = number[1];
        message->date = (int64_t)number[2];
    }
    if (number[1] > mailbox->modseq)
        mailbox->modseq = number[1];
}

/* Writes the journal without its past, and leaves it open. */
static void rewrite(struct mailbox *mailbox)
{
    struct text path = {0}, new = {0};
    text_addf(&path, "%s/journal", mailbox->folder);
    text_addf(&new, "%s.new", path.bytes);
    mailbox->journal = fopen(new.bytes, "we");
    if (mailbox->journal == NULL)
        server_fail("cannot write a journal");
    fprintf(mailbox->journal, "validity %" PRIu32 "\nnext %" PRIu32 " %" PRIu64 "\nrecent %" PRIu32 "\n",
            mailbox->uid_validity, mailbox->uid_next, mailbox->modseq, mailbox->first_recent);
    for (size_t i = 0; i < mailbox->len; i++)
        note(mailbox, &mailbox->messages[i]);
    if (fflush(mailbox->journal) != 0 || rename(new.bytes, path.bytes) != 0)
        server_fail("cannot write a journal");
    text_free(&path);
    text_free(&new);
}

static struct mailbox *enter(struct imapd *imapd, const char *name)
{
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox)), **end = &imapd->mailboxes;
    if (mailbox == NULL)
        abort();
    mailbox->name = strdup(name);
    mailbox->folder = folder_of(imapd, name);
    mailbox->uid_next = mailbox->first_recent = 1;
    mailbox->modseq = 1;
    while (*end != NULL)
        end = &(*end)->next;
    *end = mailbox;
    return mailbox;
}

static void load(struct imapd *imapd, const char *name)
{
    struct mailbox *mailbox = enter(imapd, name);
    struct text path = {0};
    char line[LINE_MAX_LEN];
    text_addf(&path, "%s/journal", mailbox->folder);
    FILE *file = fopen(path.bytes, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        replay(mailbox, line);
    if (file != NULL)
        fclose(file);
    text_free(&path);
    rewrite(mailbox);
}

void store_load(struct imapd *imapd)
{
    DIR *folder = opendir(imapd->server.store);
    struct dirent *entry;
    if (folder == NULL)
        server_fail("--store must be a folder");
    while ((entry = readdir(folder)) != NULL) {
        struct text path = {0};
        text_addf(&path, "%s/%s/journal", imapd->server.store, entry->d_name);
        if (entry->d_name[0] != '.' && access(path.bytes, R_OK) == 0) {
            char *name = name_of(entry->d_name);
            load(imapd, name);
            free(name);
        }
        text_free(&path);
    }
    closedir(folder);
    if (mailbox_find(imapd, "INBOX") == NULL)
        mailbox_create(imapd, "INBOX");
}

/* UIDVALIDITY grows with every mailbox, also with one that is made again under its old name in the same second. */
static uint32_t new_validity(const struct imapd *imapd)
{
    uint32_t validity = (uint32_t)time(NULL);
    for (const struct mailbox *mailbox = imapd->mailboxes; mailbox != NULL; mailbox = mailbox->next)
        if (mailbox->uid_validity >= validity)
            validity = mailbox->uid_validity + 1;
    return validity;
}

struct mailbox *mailbox_create(struct imapd *imapd, const char *name)
{
    uint32_t validity = new_validity(imapd);
    struct mailbox *mailbox = enter(imapd, name);
    mailbox->uid_validity = validity;
    if (mkdir(mailbox->folder, 0700) != 0)
        server_fail("cannot make a mailbox");
    rewrite(mailbox);
    return mailbox;
}

void mailbox_delete(struct mailbox *mailbox)
{
    struct text path = {0};
    while (mailbox->len > 0)
        mailbox_expunge(mailbox, mailbox->messages[mailbox->len - 1].uid);
    fclose(mailbox->journal);
    mailbox->journal = NULL;
    text_addf(&path, "%s/journal", mailbox->folder);
    unlink(path.bytes);
    rmdir(mailbox->folder);
    text_free(&path);
    mailbox->is_gone = true;
}

void mailbox_rename(struct imapd *imapd, struct mailbox *mailbox, const char *name)
{
    char *folder = folder_of(imapd, name), *copy = strdup(name);
    if (rename(mailbox->folder, folder) != 0)
        server_fail("cannot rename a mailbox");
    free(mailbox->folder);
    free(mailbox->name);
    mailbox->folder = folder;
    mailbox->name = copy;
}

/* ---- flags, subscriptions ---- */

static bool next_word(const char **at, struct slice *word_out)
{
    *at += strspn(*at, " ");
    *word_out = (struct slice){*at, strcspn(*at, " ")};
    *at += word_out->len;
    return word_out->len > 0;
}

bool flags_have(const char *flags, const char *flag)
{
    struct slice word;
    while (next_word(&flags, &word))
        if (slice_is(word, flag))
            return true;
    return false;
}

static void add_flag(struct text *flags, struct slice word)
{
    static const char *const system[] = {"\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"};
    char *name = strndup(word.at, word.len);
    for (size_t i = 0; i < sizeof(system) / sizeof(system[0]); i++)
        if (slice_is(word, system[i]))
            memcpy(name, system[i], word.len);
    /* \Recent is nobody's to set; what would be too much is left out. */
    if (strcasecmp(name, "\\Recent") != 0 && !flags_have(flags->bytes, name) && flags->len + word.len < FLAGS_MAX_LEN)
        text_addf(flags, "%s%s", flags->len > 0 ? " " : "", name);
    free(name);
}

char *flags_change(const char *flags, const char *added, const char *removed)
{
    struct text result = {0};
    struct slice word;
    text_add(&result, "", 0);
    while (next_word(&flags, &word)) {
        char *name = strndup(word.at, word.len);
        if (!flags_have(removed, name))
            add_flag(&result, word);
        free(name);
    }
    while (next_word(&added, &word))
        add_flag(&result, word);
    return result.bytes;
}

static void subscription_path(const struct imapd *imapd, const char *name, struct text *path_out)
{
    char *folder = folder_of(imapd, name);
    text_addf(path_out, "%s/.subscribed%s", imapd->server.store, strrchr(folder, '/') + 1);
    free(folder);
}

bool is_subscribed(const struct imapd *imapd, const char *name)
{
    struct text path = {0};
    subscription_path(imapd, name, &path);
    bool result = access(path.bytes, F_OK) == 0;
    text_free(&path);
    return result;
}

void subscribe(const struct imapd *imapd, const char *name, bool is_on)
{
    struct text path = {0};
    subscription_path(imapd, name, &path);
    int fd = is_on ? open(path.bytes, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : unlink(path.bytes);
    if (is_on && fd >= 0)
        close(fd);
    text_free(&path);
}
