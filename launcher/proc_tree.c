/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/proc_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As getdents64(2) fills it in; readdir() would allocate. */
struct dir_entry {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

static const char *parse_number(const char *p, const char *end, uint64_t *ret_value)
{
    bool is_negative = p < end && *p == '-'; /* tpgid and the priorities can be */
    p += is_negative ? 1 : 0;
    const char *digits = p;
    uint64_t v = 0;
    while (p < end && *p >= '0' && *p <= '9') {
        v = v * 10 + (uint64_t)(*p - '0');
        p++;
    }
    if (p == digits) {
        return NULL;
    }
    *ret_value = is_negative ? 0 : v;
    return p;
}

int proc_tree_parse_stat(const char *text, size_t len, struct proc_stat *ret_stat)
{
    const char *end = text + len;
    uint64_t pid;
    const char *p = parse_number(text, end, &pid);
    if (p == NULL || end - p < 2 || p[0] != ' ' || p[1] != '(') {
        return -1;
    }
    /* The name may hold anything, ") R 1 (" too; after the last ')' come numbers only. */
    const char *comm = p + 2;
    const char *close = memrchr(comm, ')', (size_t)(end - comm));
    if (close == NULL || end - close < 4 || close[1] != ' ' || close[3] != ' ') {
        return -1;
    }
    struct proc_stat st = {.pid = (pid_t)pid, .state = close[2]};
    size_t comm_len = (size_t)(close - comm);
    comm_len = comm_len < sizeof(st.comm) ? comm_len : sizeof(st.comm) - 1;
    memcpy(st.comm, comm, comm_len);

    /* proc(5): fields are numbered from 1; the state is field 3. */
    uint64_t fields[23] = {0};
    p = close + 3;
    for (size_t i = 4; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (p == end || *p != ' ') {
            return -1;
        }
        p = parse_number(p + 1, end, &fields[i]);
        if (p == NULL) {
            return -1;
        }
    }
    st.ppid = (pid_t)fields[4];
    st.pgrp = (pid_t)fields[5];
    st.session = (pid_t)fields[6];
    st.threads = (uint32_t)fields[20];
    st.start_time = fields[22];
    *ret_stat = st;
    return 0;
}

/* Append text, then the number, then text; snprintf() is not for use after a fork. */
static void build_path(char *path, const char *head, pid_t a, const char *middle, pid_t b,
                       const char *tail)
{
    const char *texts[] = {head, middle, tail};
    const pid_t numbers[] = {a, b};
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(texts[i]);
        memcpy(path + at, texts[i], n);
        at += n;
        if (i < 2 && numbers[i] > 0) {
            char digits[12];
            size_t k = sizeof(digits);
            for (unsigned v = (unsigned)numbers[i]; v > 0; v /= 10) {
                digits[--k] = (char)('0' + v % 10);
            }
            memcpy(path + at, digits + k, sizeof(digits) - k);
            at += sizeof(digits) - k;
        }
    }
    path[at] = '\0';
}

enum { PATH_SIZE = 64 };

static int open_proc(const char *path, int flags)
{
    int fd;
    do {
        fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

int proc_tree_read_stat(pid_t pid, struct proc_stat *ret_stat)
{
    char path[PATH_SIZE];
    build_path(path, "/proc/", pid, "/stat", 0, "");
    int fd = open_proc(path, 0);
    if (fd < 0) {
        return -1;
    }
    char text[1024];
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    return n > 0 ? proc_tree_parse_stat(text, (size_t)n, ret_stat) : -1;
}

bool proc_tree_is_alive(const struct proc_stat *st)
{
    /* A leader that ended before its threads shows as Z and cannot be reaped yet. */
    return (st->state != 'Z' && st->state != 'X') || st->threads > 1;
}

/* Call `fn` for each all-digits entry of a directory until it returns false. */
typedef bool (*number_fn)(void *arg, pid_t number);
static void each_number(const char *path, number_fn fn, void *arg)
{
    int fd = open_proc(path, O_DIRECTORY);
    if (fd < 0) {
        return;
    }
    _Alignas(struct dir_entry) char entries[4096];
    long n;
    bool is_wanted = true;
    while (is_wanted && (n = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
        for (long at = 0; is_wanted && at < n;) {
            const struct dir_entry *e = (const void *)(entries + at);
            at += e->reclen;
            uint64_t number;
            const char *end = e->name + strlen(e->name);
            if (e->name[0] != '-' && parse_number(e->name, end, &number) == end) {
                is_wanted = fn(arg, (pid_t)number);
            }
        }
    }
    close(fd);
}

struct collect {
    struct proc_stat *list;
    size_t count;
    size_t max;
    pid_t parent;
};

static void add_pid(struct collect *c, pid_t pid)
{
    if (c->count < c->max && proc_tree_read_stat(pid, &c->list[c->count]) == 0) {
        c->count++;
    }
}

/* Pids separated by blanks, in a file that may be longer than one read. */
static bool add_children_of_thread(void *arg, pid_t tid)
{
    struct collect *c = arg;
    char path[PATH_SIZE];
    build_path(path, "/proc/", c->parent, "/task/", tid, "/children");
    int fd = open_proc(path, 0);
    if (fd < 0) {
        return true;
    }
    char text[4096];
    ssize_t n;
    pid_t pid = 0;
    while ((n = read(fd, text, sizeof(text))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 0) {
                add_pid(c, pid);
                pid = 0;
            }
        }
    }
    if (pid > 0) {
        add_pid(c, pid);
    }
    close(fd);
    return c->count < c->max;
}

static void add_children(struct collect *c, pid_t parent, uint32_t threads)
{
    c->parent = parent;
    if (threads == 1) {
        add_children_of_thread(c, parent);
        return;
    }
    char path[PATH_SIZE];
    build_path(path, "/proc/", parent, "/task", 0, "");
    each_number(path, add_children_of_thread, c);
}

static bool is_listed(const struct collect *c, pid_t pid)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->list[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static bool add_if_child(void *arg, pid_t pid)
{
    struct collect *c = arg;
    struct proc_stat *st = &c->list[c->count];
    if (proc_tree_read_stat(pid, st) == 0 && st->ppid == c->parent) {
        c->count++;
    }
    return c->count < c->max;
}

static bool add_if_descendant(void *arg, pid_t pid)
{
    struct collect *c = arg;
    struct proc_stat *st = &c->list[c->count];
    if (proc_tree_read_stat(pid, st) == 0 && !is_listed(c, pid) &&
        (st->ppid == c->parent || is_listed(c, st->ppid))) {
        c->count++;
    }
    return c->count < c->max;
}

static bool use_children_files(enum proc_tree_method method)
{
    return method == PROC_TREE_CHILDREN ||
           (method == PROC_TREE_AUTO && access("/proc/thread-self/children", F_OK) == 0);
}

size_t proc_tree_children(pid_t pid, enum proc_tree_method method, struct proc_stat *list,
                          size_t max)
{
    struct collect c = {.list = list, .max = max, .parent = pid};
    if (max == 0) {
        return 0;
    }
    if (use_children_files(method)) {
        add_children(&c, pid, 0);
    } else {
        each_number("/proc", add_if_child, &c);
    }
    return c.count;
}

size_t proc_tree_descendants(pid_t root, enum proc_tree_method method, struct proc_stat *list,
                             size_t max)
{
    struct collect c = {.list = list, .max = max, .parent = root};
    if (max == 0) {
        return 0;
    }
    if (use_children_files(method)) {
        add_children(&c, root, 0);
        for (size_t i = 0; i < c.count && c.count < max; i++) {
            add_children(&c, list[i].pid, list[i].threads);
        }
        return c.count;
    }
    /* A child's pid may be lower than its parent's, so look until nothing is added. */
    size_t before;
    do {
        before = c.count;
        each_number("/proc", add_if_descendant, &c);
    } while (c.count != before && c.count < max);
    return c.count;
}
