/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes: pods with a number and a name that lasts.
 *
 * An Indexed Job gives each pod JOB_COMPLETION_INDEX, and the host name <job>-<index>; with a
 * headless service whose name is the pods' `subdomain`, <job>-<index>.<subdomain> resolves (the
 * pages "Jobs", Completion mode, and "Job with Pod-to-Pod Communication" of kubernetes.io). The
 * pods of a StatefulSet are <name>-<ordinal>, under its governing service ("StatefulSets", Stable
 * Network ID). The kubelet writes the full name, <host>.<subdomain>.<namespace>.svc.<domain>, into
 * the pod's /etc/hosts, which is where it is read ("Adding entries to Pod /etc/hosts").
 *
 * How many pods there are is written nowhere, so --nnodes has to say it. A pod that is replaced
 * comes with the same number and name, and so gets the place of the one before it; its address is
 * another one, which is why no address is used here.
 */
#include "launcher/sched_impl.h"

#include "muster/lines.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <stdio.h>
#include <string.h>

enum { MAX_HOSTS_FILE = 64 * 1024 };

/* "train-3" is "train" and 3. -1 if it is not made so. */
static int32_t split_number(const char *name, size_t *ret_base_len)
{
    const char *dash = strrchr(name, '-');
    int64_t number = 0;
    bool is_plain = dash != NULL && dash > name && dash[1] != '\0' &&
                    strspn(dash + 1, "0123456789") == strlen(dash + 1) &&
                    (dash[1] != '0' || dash[2] == '\0');
    if (!is_plain || mu_parse_int(dash + 1, 0, MU_MAX_NODES - 1, &number, NULL) != 0) {
        return -1;
    }
    *ret_base_len = (size_t)(dash - name);
    return (int32_t)number;
}

static bool take_word(struct mu_slice *rest, struct mu_slice *ret_word)
{
    *rest = mu_slice_trim(*rest);
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t') {
        len++;
    }
    *ret_word = (struct mu_slice){.ptr = rest->ptr, .len = len};
    rest->ptr += len;
    rest->len -= len;
    return len > 0;
}

/* The first word of /etc/hosts that is `name` with a domain behind it: the domain, dot included. */
static void find_domain(const struct host_view *host, const char *name,
                        char domain[MU_MAX_NAME + 1])
{
    mu_autofree char *text = mu_alloc(MAX_HOSTS_FILE);
    size_t len = strlen(name);
    domain[0] = '\0';
    if (host_view_text(host, text, MAX_HOSTS_FILE, "/etc/hosts") != 0) {
        return;
    }
    struct mu_slice rest = mu_slice_of(text);
    struct mu_slice line;
    while (domain[0] == '\0' && lines_next(&rest, &line)) {
        const char *comment = memchr(line.ptr, '#', line.len);
        line.len = comment != NULL ? (size_t)(comment - line.ptr) : line.len;
        struct mu_slice word;
        for (bool is_name = false; take_word(&line, &word); is_name = true) {
            if (is_name && word.len > len + 1 && word.len <= MU_MAX_NAME &&
                memcmp(word.ptr, name, len) == 0 && word.ptr[len] == '.') {
                snprintf(domain, MU_MAX_NAME + 1, "%.*s", (int)(word.len - len), word.ptr + len);
                break;
            }
        }
    }
}

/* A host name and what is behind its first dot, if it is a full one (setHostnameAsFQDN). */
static void read_names(const struct host_view *host, char name[MU_MAX_NAME + 1],
                       char domain[MU_MAX_NAME + 1])
{
    domain[0] = '\0';
    if (sched_own_hostname(host, name) != 0) {
        name[0] = '\0';
        return;
    }
    char *dot = strchr(name, '.');
    if (dot != NULL) {
        snprintf(domain, MU_MAX_NAME + 1, "%s", dot);
        *dot = '\0';
    } else {
        find_domain(host, name, domain);
    }
}

/* The namespace tells apart jobs of one name: ".svc.ml.svc.cluster.local" is "svc.ml". */
static void name_run(struct sched *s, const char *name, size_t base_len, const char *domain)
{
    const char *end = strstr(domain, ".svc.");
    int len = end != NULL ? (int)(end - domain) : 0;
    snprintf(s->run_id, sizeof(s->run_id), "%.*s%.*s", (int)base_len, name, len, domain);
}

int sched_kubernetes_read(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    (void)err;
    char name[MU_MAX_NAME + 1];
    char domain[MU_MAX_NAME + 1];
    size_t base_len = 0;
    int32_t job_index = (int32_t)sched_number(host, "JOB_COMPLETION_INDEX", -1);
    if (job_index < 0 && sched_text(host, "KUBERNETES_SERVICE_HOST") == NULL) {
        return 0;
    }
    read_names(host, name, domain);
    int32_t number = split_number(name, &base_len);
    bool has_place = number >= 0 && domain[0] != '\0' && (job_index < 0 || job_index == number);
    if (job_index < 0 && !has_place) {
        return 0; /* a pod like any other */
    }
    s->node_index = job_index >= 0 ? job_index : number;
    s->needs_nnodes = job_index >= 0;
    s->advice = "or give the pods a stable name, with a headless service and its name as their "
                "`subdomain` (docs/LAUNCH.md)";
    snprintf(s->node_name, sizeof(s->node_name), "%s", name);
    if (has_place) {
        int len =
            snprintf(s->places[0], sizeof(s->places[0]), "%.*s-0%s", (int)base_len, name, domain);
        s->place_count = len < (int)sizeof(s->places[0]) ? 1 : 0;
        s->ports[s->port_count++] = MU_DEFAULT_PORT; /* a pod has a network of its own */
        name_run(s, name, base_len, domain);
    }
    return 1;
}
