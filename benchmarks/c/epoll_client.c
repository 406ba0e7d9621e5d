/* An epoll client in a closed loop, in C: what our fleet is measured against.
 *
 *     epoll_client ADDRESS PORT CONNECTIONS MESSAGE_BYTES DURATION_MS ORDER
 *
 * Connects, then asks on every connection, and asks again whenever an answer is whole, until the time is over. It does
 * what the fleet does for each message: reads the answer, looks at the clock, compares, and keeps a record of 48 bytes,
 * which go to a file 512 at a time (`$LAB_OUT/latency-c.bin`); then it asks again, with another look at the clock. ORDER
 * `in-turn` is how it is usually written: one connection, then the next. `reads-first` is the fleet's: of all that are
 * ready it reads the answers, then asks on each. Prints one line of JSON: answers, the nanoseconds they took, and those
 * spent on a processor. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define BATCH 512
#define DESCRIPTORS 65536

static struct { int64_t connection, phase, kind, planned, sent, done; } records[BATCH];
static int gathered, records_file;
static int64_t sent[DESCRIPTORS];
static int got[DESCRIPTORS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t read_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void open_records(void) {
    const char *folder = getenv("LAB_OUT");
    if (folder == NULL) {
        fprintf(stderr, "LAB_OUT: not set; it names the folder for the records\n");
        exit(2);
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/latency-c.bin", folder);
    records_file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (records_file < 0) fail(path);
}

static void keep(int fd, int64_t done) {
    records[gathered].connection = fd;
    records[gathered].phase = 1;
    records[gathered].planned = records[gathered].sent = sent[fd];
    records[gathered++].done = done;
    if (gathered < BATCH) return;
    if (write(records_file, records, sizeof records) != sizeof records) fail("write the records");
    gathered = 0;
}

static void ask(int fd, const char *request, int size) {
    sent[fd] = read_ns(CLOCK_MONOTONIC);
    if (write(fd, request, size) != size) fail("write");
}

int main(int argc, char **argv) {
    if (argc != 7 || (strcmp(argv[6], "in-turn") != 0 && strcmp(argv[6], "reads-first") != 0)) {
        fprintf(stderr, "usage: %s ADDRESS PORT CONNECTIONS MESSAGE_BYTES DURATION_MS in-turn|reads-first\n", argv[0]);
        return 2;
    }
    int in_turn = strcmp(argv[6], "in-turn") == 0;
    int connections = atoi(argv[3]), size = atoi(argv[4]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) fail("inet_pton");
    char *request = malloc(size), *answer = malloc(size);
    memset(request, 'a', size);

    open_records();
    int epoll = epoll_create1(0);
    int *fds = calloc(connections, sizeof *fds);
    for (int i = 0; i < connections; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (fds[i] < 0 || fds[i] >= DESCRIPTORS) fail("socket");
        if (connect(fds[i], (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) < 0) fail("epoll_ctl");
    }
    int64_t begin = read_ns(CLOCK_MONOTONIC), end = begin + atoll(argv[5]) * 1000000LL, answers = 0, last = begin;
    int64_t cpu = read_ns(CLOCK_PROCESS_CPUTIME_ID);
    int waiting = 0;
    for (int i = 0; i < connections; i++) {
        ask(fds[i], request, size);
        waiting++;
    }
    struct epoll_event events[EVENTS];
    int again[EVENTS];
    while (waiting > 0) {
        int count = epoll_wait(epoll, events, EVENTS, 2000), asks = 0;
        if (count == 0) break;
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            ssize_t part = read(fd, answer, size - got[fd]);
            if (part <= 0) fail("read");
            if (memcmp(answer, request + got[fd], part) != 0) fail("a wrong answer");
            got[fd] += part;
            if (got[fd] < size) continue;
            got[fd] = 0;
            last = read_ns(CLOCK_MONOTONIC);
            keep(fd, last);
            answers++;
            if (last >= end) waiting--;
            else if (in_turn) ask(fd, request, size);
            else again[asks++] = fd;
        }
        for (int i = 0; i < asks; i++) ask(again[i], request, size);
    }
    printf("{\"answers\": %lld, \"took_ns\": %lld, \"cpu_ns\": %lld, \"unanswered\": %d}\n", (long long)answers,
           (long long)(last - begin), (long long)(read_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu), waiting);
    return 0;
}
