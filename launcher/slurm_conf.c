/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/slurm_conf.h"

#include "launcher/hostlist.h"
#include "muster/env.h"
#include "muster/file.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    MAX_FILE = 4 * 1024 * 1024,
    MAX_LINE = 64 * 1024, /* with all its continuations */
    DEFAULT_KILL_WAIT_MS = 30 * 1000,
};

/* ---- one line: NAME=VALUE ... ---- */

/* Its value, up to the next white space, owned; NULL if the line does not have `key`. */
static char *value_of(const char *line, const char *key)
{
    size_t len = strlen(key);
    for (const char *at = line; *at != '\0';) {
        size_t word = strcspn(at, " \t\r\"");
        bool is_it = word > len && at[len] == '=' && strncasecmp(at, key, len) == 0;
        const char *value = at + len + 1;
        at += word;
        if (*at == '"') { /* a quoted value may have spaces in it */
            value = ++at;
            at += strcspn(at, "\"");
        }
        if (is_it) {
            return mu_strndup(value, (size_t)(at - value));
        }
        at += strspn(at, " \t\r\"");
    }
    return NULL;
}

static void read_kill_wait(const char *line, struct slurm_conf *conf)
{
    mu_autofree char *text = value_of(line, "KillWait");
    int64_t seconds;
    if (text != NULL && mu_parse_int(text, 0, 65535, &seconds, NULL) == 0) {
        conf->kill_wait_ms = seconds * 1000;
    }
}

/* The last address of a line is that of all further nodes. */
static void take_address(const char *list, size_t place, struct slurm_conf *conf)
{
    struct hostlist addresses = {0};
    if (hostlist_parse(list, &addresses, NULL) == 0 && addresses.count > 0) {
        size_t last = addresses.count - 1;
        snprintf(conf->node_addr, sizeof(conf->node_addr), "%s",
                 addresses.names[place < last ? place : last]);
    }
    hostlist_fini(&addresses);
}

static void read_node(const char *line, const char *node, struct slurm_conf *conf)
{
    mu_autofree char *text = value_of(line, "NodeName");
    struct hostlist names = {0};
    if (text != NULL && hostlist_parse(text, &names, NULL) == 0) {
        long place = hostlist_find(&names, node);
        mu_autofree char *address = value_of(line, "NodeAddr");
        mu_autofree char *host_name = value_of(line, "NodeHostname");
        const char *list = address != NULL ? address : host_name;
        if (place >= 0 && list != NULL) {
            take_address(list, (size_t)place, conf);
        }
    }
    hostlist_fini(&names);
}

/* ---- the file ---- */

/* Cut off what is no setting: a comment. */
static void strip_comment(char *line)
{
    char *hash = strchr(line, '#');
    while (hash != NULL && hash > line && hash[-1] == '\\') {
        hash = strchr(hash + 1, '#');
    }
    if (hash != NULL) {
        *hash = '\0';
    }
}

/* Take one line off `rest`, joined with those it goes on in; false at the end. */
static bool next_line(struct mu_slice *rest, char *line)
{
    size_t len = 0;
    struct mu_slice part;
    bool goes_on = true;
    bool is_any = false;
    line[0] = '\0';
    while (goes_on && lines_next(rest, &part)) {
        is_any = true;
        size_t room = MAX_LINE - 1 - len;
        size_t count = part.len < room ? part.len : room;
        snprintf(line + len, count + 1, MU_SLICE_FMT, MU_SLICE_ARG(part));
        strip_comment(line + len);
        len += strlen(line + len);
        while (len > 0 && isspace((unsigned char)line[len - 1])) {
            len--;
        }
        goes_on = len > 0 && line[len - 1] == '\\';
        len -= goes_on;
        line[len] = '\0';
    }
    return is_any;
}

void slurm_conf_parse(struct mu_slice text, const char *node, struct slurm_conf *ret_conf)
{
    *ret_conf = (struct slurm_conf){.kill_wait_ms = DEFAULT_KILL_WAIT_MS};
    mu_autofree char *line = mu_alloc(MAX_LINE);
    while (next_line(&text, line)) {
        const char *at = line + strspn(line, " \t");
        if (strncasecmp(at, "NodeName=", 9) == 0) {
            read_node(at, node, ret_conf);
        } else {
            read_kill_wait(at, ret_conf);
        }
    }
}

void slurm_conf_read(const struct host_view *host, const char *node, struct slurm_conf *ret_conf)
{
    const char *given = mu_env_get(host->envp, "SLURM_CONF");
    const char *paths[] = {given, "/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf"};
    slurm_conf_parse(mu_slice_of(NULL), node, ret_conf);
    for (size_t i = 0; i < MU_COUNT(paths); i++) {
        if (paths[i] == NULL || paths[i][0] != '/') {
            continue;
        }
        mu_autofree char *path = mu_asprintf("%s%s", host->root, paths[i]);
        size_t len = 0;
        mu_autofree char *text = mu_file_text(path, MAX_FILE, &len);
        if (text != NULL) {
            slurm_conf_parse((struct mu_slice){.ptr = text, .len = len}, node, ret_conf);
            return;
        }
    }
}
