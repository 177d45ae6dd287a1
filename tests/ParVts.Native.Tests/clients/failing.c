/*
 * Each thing that the library asks the system for, refused once: the first, then the second, and so on to the last. A whole use of the
 * library then ends with a status, leaves nothing behind, and the next one gets its answer.
 *
 *     failing MODEL PICTURE KIND once|on [FIRST]        KIND: buffers, files, threads, heap, memory
 *
 * The functions that follow stand before those of libc for the whole process, the library included.
 */
#include "client.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <sys/mman.h>

enum kind {
    BUFFERS = 1, /* aligned_alloc: tensors, KV caches, scratch memory, weights that are not mapped */
    FILES = 2,   /* mmap of a file */
    THREADS = 4, /* pthread_create */
    HEAP = 8,    /* memory that the collector takes: mmap, mprotect */
    MEMORY = 16, /* malloc and calloc as the library and what it loads call them */
};

static atomic_int armed;      /* kinds that are counted */
static atomic_long countdown; /* the call at which it comes to 0 fails */
static atomic_long counted;   /* since it was armed */
static atomic_long blocks;    /* of aligned_alloc that nobody freed */
static atomic_int refused;
static pthread_t host;
static int goes_on; /* what follows fails as well, to the end of the use */

/* True where this call has to fail. */
static int fails(enum kind kind)
{
    if ((atomic_load(&armed) & (int)kind) == 0)
        return 0;
    atomic_fetch_add(&counted, 1);
    long left = atomic_fetch_sub(&countdown, 1);
    if (left > 1 || (left < 1 && !goes_on))
        return 0;
    atomic_store(&refused, 1);
    return 1;
}

static void arm(int kinds, long n)
{
    atomic_store(&refused, 0);
    atomic_store(&counted, 0);
    atomic_store(&countdown, n);
    atomic_store(&armed, kinds);
}

/* Returns how many calls there were. */
static long disarm(void)
{
    atomic_store(&armed, 0);
    return atomic_load(&counted);
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

/* Blocks of aligned_alloc are counted: their addresses are kept in a table. */
#define PLACES 65536
static _Atomic(void *) places[PLACES];

static size_t place_of(const void *block) { return ((uintptr_t)block >> 6) * 0x9E3779B97F4A7C15u >> 48; }

static void remember(void *block)
{
    for (size_t i = place_of(block);; i = (i + 1) % PLACES) {
        void *none = NULL;
        if (atomic_compare_exchange_strong(&places[i], &none, block))
            break;
    }
    atomic_fetch_add(&blocks, 1);
}

/* Looks no further than such a block may lie. */
static void forget_block(void *block)
{
    size_t i = place_of(block);
    for (int steps = 0; steps < 64; steps++, i = (i + 1) % PLACES) {
        void *expected = block;
        if (atomic_compare_exchange_strong(&places[i], &expected, NULL)) {
            atomic_fetch_sub(&blocks, 1);
            return;
        }
    }
}

/*
 * True where the caller is the library's code or a codec's, on the thread that calls the library: what the runtime cannot go without when it
 * makes a thread, it cannot go without.
 */
static int is_the_librarys(void *caller)
{
    static _Thread_local int inside;
    Dl_info here;
    if (inside || !pthread_equal(pthread_self(), host))
        return 0;
    inside = 1;
    int found = dladdr(caller, &here) != 0 && here.dli_fname != NULL &&
                (strstr(here.dli_fname, "libparvts-") != NULL || strstr(here.dli_fname, "libturbojpeg") != NULL);
    inside = 0;
    return found;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (fails(BUFFERS)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = __libc_memalign(alignment, size);
    if (block != NULL)
        remember(block);
    return block;
}

void free(void *memory)
{
    if (memory != NULL && atomic_load_explicit(&blocks, memory_order_relaxed) > 0 && ((uintptr_t)memory & 63) == 0)
        forget_block(memory);
    __libc_free(memory);
}

void *malloc(size_t size)
{
    if ((atomic_load(&armed) & MEMORY) != 0 && is_the_librarys(__builtin_return_address(0)) && fails(MEMORY)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if ((atomic_load(&armed) & MEMORY) != 0 && is_the_librarys(__builtin_return_address(0)) && fails(MEMORY)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

void *mmap64(void *address, size_t length, int protection, int flags, int file, off64_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off64_t);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "mmap64");
    if (fails(file >= 0 ? FILES : HEAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return real(address, length, protection, flags, file, offset);
}

int mprotect(void *address, size_t length, int protection)
{
    static int (*real)(void *, size_t, int);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "mprotect");
    if (fails(HEAP)) {
        errno = ENOMEM;
        return -1;
    }
    return real(address, length, protection);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return fails(THREADS) ? EAGAIN : real(thread, attributes, start, argument);
}

/* --- a whole use of the library ---------------------------------------------------------------------------------------- */

struct use {
    pv_options engine_options, options;
    pv_engine engine;
    pv_image image;
    pv_prompt prompt;
    pv_session session;
    pv_stream stream;
    pv_result pushed, pulled;
    pv_error error;
    const char *call; /* that failed */
};

#define TRY(call_)                             \
    do {                                       \
        pv_status status_ = (call_);           \
        if (status_ != PV_OK) {                \
            use->call = #call_;                \
            return status_;                    \
        }                                      \
    } while (0)

static int32_t ignore(void *user, const char *text, size_t bytes)
{
    (void)user, (void)text, (void)bytes;
    return 0;
}

static pv_status run(struct use *use, const char *model, const char *picture, struct answer *answer)
{
    pv_error *error = &use->error;
    char text[256];
    int32_t ids[256];
    size_t count;
    TRY(api->options_create("engine", &use->engine_options, error));
    TRY(api->options_set_text(use->engine_options, "device", "cpu", error));
    TRY(api->options_set_int(use->engine_options, "threads", 4, error));
    TRY(api->engine_open(model, use->engine_options, &use->engine, error));
    TRY(api->image_load(use->engine, picture, NULL, &use->image, error));
    TRY(api->prompt_create(use->engine, NULL, &use->prompt, error));
    TRY(api->prompt_add_image(use->prompt, "user", use->image, error));
    TRY(api->prompt_add_text(use->prompt, "user", "what color is the circle?", error));
    TRY(api->tokenize(use->engine, "red", ids, 256, &count, error));
    TRY(api->session_open(use->engine, "parvts:keep=4", &use->session, error));
    TRY(api->options_create("generation", &use->options, error));
    TRY(api->options_set_int(use->options, "max_tokens", 3, error));
    TRY(api->options_set_int(use->options, "ignore_eos", 1, error));
    TRY(api->generate(use->session, use->prompt, use->options, ignore, NULL, &use->pushed, error));
    TRY(api->session_reset(use->session, error));
    TRY(api->stream_open(use->session, use->prompt, use->options, &use->stream, error));
    do
        TRY(api->stream_next(use->stream, text, sizeof text, &count, error));
    while (count > 0);
    TRY(api->stream_result(use->stream, &use->pulled, error));
    TRY(api->result_tokens(use->pulled, answer->tokens, 3, &answer->count, error));
    TRY(api->session_kv_lengths(use->session, answer->lengths, 256, &answer->layers, error));
    return PV_OK;
}

/* Nothing that is closed may fail, whatever went wrong before. */
static void close_all(struct use *use)
{
    CHECK(api->result_close(use->pulled, error));
    CHECK(api->result_close(use->pushed, error));
    CHECK(api->stream_close(use->stream, error));
    CHECK(api->session_close(use->session, error));
    CHECK(api->prompt_close(use->prompt, error));
    CHECK(api->image_close(use->image, error));
    CHECK(api->engine_close(use->engine, error));
    CHECK(api->options_close(use->options, error));
    CHECK(api->options_close(use->engine_options, error));
}

/* Threads of engines that are closed, by their name; those that are about to end have a second for it. */
static int workers(void)
{
    int found = 1;
    for (int i = 0; i < 1000 && found > 0; i++) {
        DIR *tasks = opendir("/proc/self/task");
        struct dirent *task;
        REQUIRE(tasks != NULL);
        found = 0;
        while ((task = readdir(tasks)) != NULL) {
            char path[300], name[64] = "";
            snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
            FILE *file = fopen(path, "r");
            if (file != NULL) {
                found += fgets(name, sizeof name, file) != NULL && strncmp(name, "parvts", 6) == 0;
                fclose(file);
            }
        }
        closedir(tasks);
        if (found > 0)
            wait_a_moment();
    }
    return found;
}

int main(int count, char **arguments)
{
    static const struct { const char *name; int kind; } kinds[] = {
        {"buffers", BUFFERS}, {"files", FILES}, {"threads", THREADS}, {"heap", HEAP}, {"memory", MEMORY},
    };
    REQUIRE(count >= 5);
    host = pthread_self();
    goes_on = strcmp(arguments[4], "on") == 0;
    int kind = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(arguments[3], kinds[i].name) == 0)
            kind = kinds[i].kind;
    }
    REQUIRE(kind != 0);

    int32_t numbers[4][256];
    struct answer right = {.tokens = numbers[0], .lengths = numbers[1]};
    struct answer now = {.tokens = numbers[2], .lengths = numbers[3]};
    REQUIRE(parvts_get_api(PV_API_VERSION, &api, NULL) == PV_OK);
    struct use warm = {.error.struct_size = sizeof(pv_error)};
    REQUIRE(run(&warm, arguments[1], arguments[2], &right) == PV_OK);
    close_all(&warm);
    REQUIRE(open_handles() == 0);
    long left = atomic_load(&blocks), attempts = 0, survived = 0, by_status[16] = {0};
    for (long n = count > 5 ? atol(arguments[5]) : 1;; n++) {
        struct use use = {.error.struct_size = sizeof(pv_error)};
        arm(kind, n);
        pv_status status = run(&use, arguments[1], arguments[2], &now);
        long calls = disarm();
        int injected = atomic_load(&refused);
        close_all(&use);
        if (!injected) {
            REQUIRE(status == PV_OK && same(&now, &right));
            printf("%ld calls: %ld attempts, %ld answered all the same;", calls, attempts, survived);
            for (int i = 1; i < 16; i++) {
                if (by_status[i] > 0)
                    printf(" status %d %ld times;", i, by_status[i]);
            }
            printf("\n");
            break;
        }

        attempts++;
        if (status == PV_OK) {
            REQUIRE(same(&now, &right));
            survived++;
        } else {
            REQUIRE(status > 0 && status <= PV_INTERNAL && status == use.error.status);
            by_status[status]++;
            if (status != PV_NO_MEMORY || getenv("SHOW") != NULL)
                printf("%ld: status %d of %s: %s\n", n, (int)status, use.call, use.error.message);
        }
        if (open_handles() != 0 || atomic_load(&blocks) > left || workers() > 0) {
            fprintf(stderr, "refusal %ld (status %d of %s) left %ld handles, %ld blocks and %d threads behind\n", n, (int)status,
                    use.call == NULL ? "nothing" : use.call, open_handles(), atomic_load(&blocks) - left, workers());
            return 1;
        }
        struct use after = {.error.struct_size = sizeof(pv_error)};
        REQUIRE(run(&after, arguments[1], arguments[2], &now) == PV_OK && same(&now, &right));
        close_all(&after);
    }
    return 0;
}
