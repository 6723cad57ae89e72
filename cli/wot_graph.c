/*
 * The web of trust as a picture, in the language of Graphviz. It reads without colour: shapes and words say the same.
 */
#include "cli/wot.h"

#include "mime/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_NAMES_MAX 3

struct drawing {
    const struct keyring_wot *wot;
    bool *is_drawn; /* of each key */
    size_t drawn;
    struct buf *out;
};

/* A piece of text within a quoted label: quotes and backslashes escaped, what is no text made harmless, and no longer
   than `max` characters. */
static enum err add_text(struct buf *out, const char *text, size_t max)
{
    const struct span span = span_of(text);
    enum err err = ERR_OK;
    size_t count = 0;
    for (size_t at = 0; !err && at < span.len; count++) {
        size_t len;
        const bool is_shown = mime_utf8_is_shown(span, at, &len);
        const char first = text[at];
        if (count == max)
            return buf_add_string(out, "…");
        if (first == '"' || first == '\\')
            err = buf_addf(out, "\\%c", first);
        else if (first == '&') /* else "&#10;" would begin another line, in which anything may be claimed */
            err = buf_add_string(out, "&amp;");
        else if (!is_shown)
            err = buf_add_byte(out, '?');
        else
            err = buf_add(out, text + at, len);
        at += len;
    }
    return err;
}

struct look {
    const char *shape, *style, *fill, *line;
};

static const struct look looks[] = {[KEYRING_WOT_UNKNOWN] = {"box", "rounded,filled,dotted", "#ffffff", "#555555"},
                                    [KEYRING_WOT_UNDEFINED] = {"box", "rounded,filled,dotted", "#ffffff", "#555555"},
                                    [KEYRING_WOT_NEVER] = {"octagon", "filled", "#f4c7c3", "#8c1d18"},
                                    [KEYRING_WOT_MARGINAL] = {"box", "rounded,filled,dashed", "#fff2b3", "#7a5c00"},
                                    [KEYRING_WOT_FULL] = {"box", "rounded,filled", "#cdebc8", "#1e6b1e"},
                                    [KEYRING_WOT_ULTIMATE] = {"house", "filled,bold", "#cfe3f7", "#1a4b7d"}};
static const struct look dead = {"octagon", "filled", "#e2e2e2", "#8c1d18"};

static enum keyring_wot_trust best_of(const struct keyring_wot *wot, const struct keyring_wot_key *key)
{
    enum keyring_wot_trust best = KEYRING_WOT_UNKNOWN;
    for (size_t i = key->user_ids_first; i < key->user_ids_first + key->user_ids_len; i++)
        if (!keyring_wot_is_dead(wot, i) && keyring_wot_user_id(wot, i)->validity > best)
            best = keyring_wot_user_id(wot, i)->validity;
    return best;
}

/* "Bob" of "Bob <bob@example.org>"; nothing where there is no more than the address. */
static enum err add_person(struct buf *out, const char *text)
{
    const char *address = strchr(text, '<');
    char name[CLI_WOT_NAME_SIZE];
    if (!address || address == text)
        return ERR_OK;
    snprintf(name, sizeof name, "%.*s", (int)(address - text), text);
    const struct span trimmed = span_trim(span_of(name));
    name[(size_t)(trimmed.ptr - name) + trimmed.len] = '\0';
    enum err err = add_text(out, trimmed.ptr, 28);
    return err ? err : buf_add_string(out, "\\n");
}

static enum err add_user_id(const struct drawing *drawing, size_t index)
{
    const struct keyring_wot_user_id *user_id = keyring_wot_user_id(drawing->wot, index);
    const char *first = strrchr(user_id->text, '<'), *last = first ? strchr(first, '>') : NULL;
    char address[CLI_WOT_NAME_SIZE];
    if (first && last)
        snprintf(address, sizeof address, "%.*s", (int)(last - first - 1), first + 1);
    else
        snprintf(address, sizeof address, "%.300s", user_id->text);
    enum err err = add_text(drawing->out, address, 36);
    return err ? err : buf_addf(drawing->out, ": %s\\n", cli_wot_validity(drawing->wot, index));
}

static const char *owner_of(const struct keyring_wot_key *key)
{
    if (key->round < 0 && key->ownertrust < KEYRING_WOT_MARGINAL)
        return "";
    switch (key->round < 0 ? key->ownertrust : key->word) {
    case KEYRING_WOT_ULTIMATE:
        return key->round == 0 ? "you (ultimate)\\n" : "";
    case KEYRING_WOT_FULL:
        return key->round < 0 ? "trusted fully, but not valid\\n" : "trusted fully\\n";
    case KEYRING_WOT_MARGINAL:
        return key->round < 0 ? "trusted marginally, but not valid\\n" : "trusted marginally\\n";
    case KEYRING_WOT_NEVER:
        return "never trusted\\n";
    case KEYRING_WOT_UNKNOWN:
    case KEYRING_WOT_UNDEFINED:
    case KEYRING_WOT_TRUST_COUNT:
        break;
    }
    return "";
}

static enum err add_state(const struct drawing *drawing, const struct keyring_wot_key *key, size_t index)
{
    char date[CLI_DATE_SIZE];
    enum err err = ERR_OK;
    cli_date(key->expires, date);
    if (key->is_revoked)
        err = buf_add_string(drawing->out, "KEY REVOKED\\n");
    else if (keyring_wot_is_key_dead(drawing->wot, index))
        err = buf_addf(drawing->out, "KEY EXPIRED %s\\n", date);
    else if (key->expires)
        err = buf_addf(drawing->out, "until %s\\n", date);
    if (!err && key->is_disabled)
        err = buf_add_string(drawing->out, "disabled\\n");
    return err;
}

static enum err draw_key(const struct drawing *drawing, size_t index)
{
    const struct keyring_wot_key *key = keyring_wot_key(drawing->wot, index);
    const struct look *look = keyring_wot_is_key_dead(drawing->wot, index) ? &dead : &looks[best_of(drawing->wot, key)];
    const size_t len = strlen(key->fingerprint), names = key->user_ids_len;
    enum err err = buf_addf(drawing->out, "  k%zu [shape=%s style=\"%s\" fillcolor=\"%s\" color=\"%s\" label=\"", index,
                            look->shape, look->style, look->fill, look->line);
    if (!err && names)
        err = add_person(drawing->out, keyring_wot_user_id(drawing->wot, key->user_ids_first)->text);
    for (size_t i = 0; !err && i < names && i < LABEL_NAMES_MAX; i++)
        err = add_user_id(drawing, key->user_ids_first + i);
    if (!err && names > LABEL_NAMES_MAX)
        err = buf_addf(drawing->out, "... and %zu more\\n", names - LABEL_NAMES_MAX);
    if (!err)
        err = add_state(drawing, key, index);
    if (!err)
        err = buf_add_string(drawing->out, owner_of(key));
    if (!err && key->strangers)
        err = buf_addf(drawing->out, "+ %zu by keys not here\\n", key->strangers);
    return err ? err
               : buf_addf(drawing->out, "%.4s %.4s\"];\n", key->fingerprint + (len > 8 ? len - 8 : 0),
                          key->fingerprint + (len > 4 ? len - 4 : 0));
}

/* The line's look, and the word that stands on it beside level and date. */
static void look_of(const struct keyring_wot *wot, const struct keyring_wot_certification *it, const char **look_out,
                    char word_out[64])
{
    char date[CLI_DATE_SIZE];
    word_out[0] = '\0';
    cli_date(it->expires, date);
    switch (it->state) {
    case KEYRING_WOT_COUNTED:
        *look_out = keyring_wot_key(wot, it->signer)->word == KEYRING_WOT_MARGINAL
                        ? "style=dashed color=\"#7a5c00\""
                        : "style=solid penwidth=1.6 color=\"#1e6b1e\"";
        if (it->expires)
            snprintf(word_out, 64, "\\nuntil %s", date);
        return;
    case KEYRING_WOT_SPARE:
        *look_out = "style=solid penwidth=0.6 color=\"#1e6b1e\"";
        return;
    case KEYRING_WOT_EXPIRED:
        *look_out = "style=dashed color=\"#8c1d18\" fontcolor=\"#8c1d18\" arrowhead=odot";
        snprintf(word_out, 64, "\\nEXPIRED %s", date);
        return;
    case KEYRING_WOT_REVOKED:
        *look_out = "style=dashed color=\"#8c1d18\" fontcolor=\"#8c1d18\" arrowhead=tee";
        snprintf(word_out, 64, "\\nREVOKED");
        return;
    case KEYRING_WOT_UNCHECKED:
        snprintf(word_out, 64, "\\nnot checked");
        break;
    case KEYRING_WOT_OUT_OF_SCOPE:
        snprintf(word_out, 64, "\\nother domain");
        break;
    case KEYRING_WOT_WITHOUT_WORD:
    case KEYRING_WOT_SUPERSEDED:
    case KEYRING_WOT_MISSING:
        break;
    }
    *look_out = "style=dotted color=\"#777777\" fontcolor=\"#777777\" arrowhead=empty";
}

/* Of a withdrawn certification only its revocation is drawn; what a later one replaced is not. */
static bool is_drawn(const struct drawing *drawing, const struct keyring_wot_certification *it)
{
    return it->signer != KEYRING_WOT_NONE && drawing->is_drawn[it->signer] && it->state != KEYRING_WOT_SUPERSEDED &&
           (it->state != KEYRING_WOT_REVOKED || it->is_revocation);
}

static enum err draw_certification(const struct drawing *drawing, size_t index)
{
    const struct keyring_wot_certification *it = keyring_wot_certification(drawing->wot, index);
    const struct keyring_wot_user_id *user_id = keyring_wot_user_id(drawing->wot, it->user_id);
    const char *look;
    char word[64], date[CLI_DATE_SIZE], level[24] = "";
    if (!drawing->is_drawn[user_id->key] || !is_drawn(drawing, it))
        return ERR_OK;
    cli_date(it->made, date);
    look_of(drawing->wot, it, &look, word);
    if (it->level)
        snprintf(level, sizeof level, "level %u, ", it->level);
    enum err err = buf_addf(drawing->out, "  k%zu -> k%zu [%s label=\"%s%s%s%s%s\"];\n", it->signer, user_id->key, look,
                            level, date, it->is_local ? ", local" : "", it->depth ? "\\nintroducer" : "", word);
    return err;
}

/* The key, and who certified it, and who certified those, as far as a path may go. */
static void choose(struct drawing *drawing, size_t key)
{
    const struct keyring_wot *wot = drawing->wot;
    const size_t len = keyring_wot_keys_len(wot);
    for (size_t i = 0; i < len && key == KEYRING_WOT_NONE; i++)
        if (drawing->drawn < CLI_WOT_GRAPH_MAX) {
            drawing->is_drawn[i] = true;
            drawing->drawn++;
        }
    if (key == KEYRING_WOT_NONE)
        return;
    drawing->is_drawn[key] = true;
    drawing->drawn = 1;
    for (unsigned step = 0; step < keyring_wot_defaults.depth_max; step++) {
        const size_t before = drawing->drawn;
        for (size_t i = 0; i < keyring_wot_certifications_len(wot); i++) {
            const struct keyring_wot_certification *it = keyring_wot_certification(wot, i);
            if (it->signer == KEYRING_WOT_NONE || it->state == KEYRING_WOT_SUPERSEDED ||
                !drawing->is_drawn[keyring_wot_user_id(wot, it->user_id)->key] || drawing->is_drawn[it->signer] ||
                drawing->drawn >= CLI_WOT_GRAPH_MAX)
                continue;
            drawing->is_drawn[it->signer] = true;
            drawing->drawn++;
        }
        if (drawing->drawn == before)
            return;
    }
}

static enum err draw(struct drawing *drawing, size_t key)
{
    const struct keyring_wot *wot = drawing->wot;
    const size_t len = keyring_wot_keys_len(wot), left_out = keyring_wot_left_out(wot);
    enum err err =
        buf_add_string(drawing->out, "digraph \"web of trust\" {\n"
                                     "  rankdir=LR; nodesep=0.35; ranksep=0.9; fontname=\"Helvetica\"; fontsize=10;\n"
                                     "  node [fontname=\"Helvetica\" fontsize=10 margin=\"0.12,0.06\"];\n"
                                     "  edge [fontname=\"Helvetica\" fontsize=8];\n");
    choose(drawing, key);
    if (!err && (left_out || (key == KEYRING_WOT_NONE && drawing->drawn < len)))
        err = buf_addf(drawing->out, "  label=\"not drawn: %zu keys, %zu certifications\"; labelloc=b;\n",
                       key == KEYRING_WOT_NONE ? len - drawing->drawn : 0, left_out);
    for (size_t i = 0; !err && i < len; i++)
        if (drawing->is_drawn[i])
            err = draw_key(drawing, i);
    for (size_t i = 0; !err && i < keyring_wot_certifications_len(wot); i++)
        err = draw_certification(drawing, i);
    return err ? err : buf_add_string(drawing->out, "}\n");
}

enum err cli_wot_graph(const struct keyring_wot *wot, size_t key, struct buf *out)
{
    struct drawing drawing = {.wot = wot, .out = out};
    drawing.is_drawn = calloc(keyring_wot_keys_len(wot) + 1, sizeof *drawing.is_drawn);
    if (!drawing.is_drawn)
        return ERR_MEMORY;
    enum err err = draw(&drawing, key);
    free(drawing.is_drawn);
    return err;
}
