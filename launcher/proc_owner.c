/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/proc_owner.h"

#include "launcher/proc_tree.h"
#include "muster/addr.h"
#include "muster/mem.h"

#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_TREE = 16384,
    MAX_INODES = 8, /* the same two ports between several pairs of addresses */
    TCP_LISTENS = 0x0A,
};

struct search {
    uint64_t inodes[MAX_INODES];
    size_t inode_count;
    bool is_blind; /* some process's descriptors could not be read */
};

/* proc(5): number, local and remote address, state, queues, timer, retransmits, uid, timeout,
 * inode. */
enum { WORD_LOCAL = 1, WORD_REMOTE, WORD_STATE, WORD_INODE = 9, WORDS };

static unsigned long port_of(const char *address)
{
    const char *colon = strchr(address, ':');
    return colon != NULL ? strtoul(colon + 1, NULL, 16) : 0;
}

static void split(const char *line, const char *words[WORDS])
{
    for (size_t i = 0; i < WORDS; i++) {
        line += strspn(line, " ");
        words[i] = line;
        line += strcspn(line, " ");
    }
}

uint64_t proc_owner_parse_listener(const char *line, uint16_t port)
{
    const char *words[WORDS];
    split(line, words);
    bool is_it =
        port_of(words[WORD_LOCAL]) == port && strtoul(words[WORD_STATE], NULL, 16) == TCP_LISTENS;
    return is_it ? strtoull(words[WORD_INODE], NULL, 10) : 0;
}

uint64_t proc_owner_parse_socket(const char *line, uint16_t local_port, uint16_t remote_port)
{
    const char *words[WORDS];
    split(line, words);
    bool is_it = port_of(words[WORD_LOCAL]) == local_port &&
                 port_of(words[WORD_REMOTE]) == remote_port &&
                 strtoul(words[WORD_STATE], NULL, 16) != TCP_LISTENS;
    return is_it ? strtoull(words[WORD_INODE], NULL, 10) : 0;
}

/* ---- one connection, from the kernel ---- */

static bool put_address(const char *host, uint32_t *ret_words, uint8_t *ret_family)
{
    struct sockaddr_storage a;
    if (mu_addr_from_numeric(host, 0, &a) != 0) {
        return false;
    }
    *ret_family = (uint8_t)a.ss_family;
    if (a.ss_family == AF_INET) {
        memcpy(ret_words, &((const struct sockaddr_in *)&a)->sin_addr, sizeof(struct in_addr));
    } else {
        memcpy(ret_words, &((const struct sockaddr_in6 *)&a)->sin6_addr, sizeof(struct in6_addr));
    }
    return true;
}

/* The answer is there when the question was sent: the kernel looks it up meanwhile. */
static uint64_t exchange(int fd, const struct inet_diag_req_v2 *req)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 req;
    } question = {.head = {.nlmsg_len = sizeof(question),
                           .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                           .nlmsg_flags = NLM_F_REQUEST},
                  .req = *req};
    struct {
        struct nlmsghdr head;
        struct inet_diag_msg msg;
        char rest[1024];
    } answer;
    if (send(fd, &question, sizeof(question), 0) < 0) {
        return 0;
    }
    ssize_t n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
    bool is_it = n >= (ssize_t)offsetof(__typeof__(answer), rest) &&
                 answer.head.nlmsg_type == SOCK_DIAG_BY_FAMILY &&
                 answer.msg.id.idiag_sport == req->id.idiag_sport &&
                 answer.msg.id.idiag_dport == req->id.idiag_dport; /* else a listener */
    return is_it ? answer.msg.idiag_inode : 0;
}

uint64_t proc_owner_ask_socket(const struct proc_owner_socket *wanted)
{
    struct inet_diag_req_v2 req = {.sdiag_protocol = IPPROTO_TCP,
                                   .idiag_states = ~0U,
                                   .id = {.idiag_sport = htons(wanted->local_port),
                                          .idiag_dport = htons(wanted->remote_port),
                                          .idiag_cookie = {~0U, ~0U}}};
    uint8_t remote_family;
    if (!put_address(wanted->local_host, req.id.idiag_src, &req.sdiag_family) ||
        !put_address(wanted->remote_host, req.id.idiag_dst, &remote_family) ||
        remote_family != req.sdiag_family) {
        return 0;
    }
    mu_autoclose int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    return fd >= 0 ? exchange(fd, &req) : 0;
}

/* ---- whose is it? ---- */

/* `remote_port` 0: of listeners. */
static void find_inodes(struct search *s, const char *table, uint16_t local_port,
                        uint16_t remote_port)
{
    FILE *f = fopen(table, "re");
    if (f == NULL) {
        return;
    }
    char line[512];
    while (s->inode_count < MAX_INODES && fgets(line, sizeof(line), f) != NULL) {
        uint64_t inode = remote_port != 0 ? proc_owner_parse_socket(line, local_port, remote_port)
                                          : proc_owner_parse_listener(line, local_port);
        if (inode != 0) {
            s->inodes[s->inode_count++] = inode;
        }
    }
    fclose(f);
}

static bool is_wanted(const struct search *s, const char *link)
{
    static const char kind[] = "socket:[";
    if (strncmp(link, kind, sizeof(kind) - 1) != 0) {
        return false;
    }
    uint64_t inode = strtoull(link + sizeof(kind) - 1, NULL, 10);
    for (size_t i = 0; i < s->inode_count; i++) {
        if (s->inodes[i] == inode) {
            return true;
        }
    }
    return false;
}

static bool holds_socket(struct search *s, pid_t pid)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        s->is_blind = s->is_blind || errno != ENOENT;
        return false;
    }
    bool is_found = false;
    const struct dirent *e;
    while (!is_found && (e = readdir(dir)) != NULL) {
        char link[64];
        ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
        link[n > 0 ? n : 0] = '\0';
        is_found = is_wanted(s, link);
    }
    closedir(dir);
    return is_found;
}

enum ctl_owned_answer proc_owner_find(pid_t root, pid_t pid, const struct proc_owner_socket *wanted)
{
    struct search s = {0};
    s.inodes[0] = proc_owner_ask_socket(wanted);
    s.inode_count = s.inodes[0] != 0 ? 1 : 0;
    if (s.inode_count == 0) {
        find_inodes(&s, "/proc/self/net/tcp", wanted->local_port, wanted->remote_port);
        find_inodes(&s, "/proc/self/net/tcp6", wanted->local_port, wanted->remote_port);
    }
    mu_autofree struct proc_stat *tree = mu_calloc(MAX_TREE, sizeof(*tree));
    size_t count = proc_tree_descendants(root, PROC_TREE_AUTO, tree, MAX_TREE);
    bool is_in_tree = false;
    for (size_t i = 0; i < count && !is_in_tree; i++) {
        is_in_tree = pid > 0 && tree[i].pid == pid;
    }
    if (s.inode_count > 0) {
        if (is_in_tree && holds_socket(&s, pid)) {
            return CTL_OWNED_SOCKET;
        }
        for (size_t i = 0; i < count; i++) {
            if (holds_socket(&s, tree[i].pid)) {
                return CTL_OWNED_SOCKET;
            }
        }
        if (!s.is_blind) {
            return CTL_OWNED_NO; /* it is on this machine, and not theirs */
        }
    }
    return is_in_tree ? CTL_OWNED_PID : CTL_OWNED_UNSEEN;
}

/* ---- whose is a port? ---- */

static void describe_owner(pid_t pid, char *text, size_t size)
{
    enum { COMMAND_SHOWN = 80 };
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    char command[COMMAND_SHOWN + 1] = "";
    FILE *f = fopen(path, "re");
    size_t len = f != NULL ? fread(command, 1, COMMAND_SHOWN, f) : 0;
    if (f != NULL) {
        fclose(f);
    }
    while (len > 0 && command[len - 1] == '\0') {
        len--;
    }
    command[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        bool is_visible = (unsigned char)command[i] > ' ' && command[i] != 0x7f;
        command[i] = is_visible ? command[i] : ' ';
    }
    snprintf(text, size, len > 0 ? "pid %d, `%s`" : "pid %d", (int)pid, command);
}

bool proc_owner_listener(uint16_t port, char *text, size_t size)
{
    struct search s = {0};
    find_inodes(&s, "/proc/self/net/tcp", port, 0);
    find_inodes(&s, "/proc/self/net/tcp6", port, 0);
    DIR *proc = s.inode_count > 0 ? opendir("/proc") : NULL;
    bool is_found = false;
    const struct dirent *e;
    while (proc != NULL && !is_found && (e = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        is_found = pid > 0 && holds_socket(&s, pid);
        if (is_found) {
            describe_owner(pid, text, size);
        }
    }
    if (proc != NULL) {
        closedir(proc);
    }
    return is_found;
}
