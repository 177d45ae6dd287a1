/*
 * Threads that all use the same handles, without regard for each other: sessions and prompts are opened, used, cancelled and closed by whoever
 * comes, closed handles are used again, arguments are made up. Every call returns a status that the header knows and that is none of a defect.
 *
 *     random_calls MODEL PICTURE SECONDS SEED
 */
#include "client.h"

#define THREADS 6
#define PLACES 4

static pv_engine engine;
static pv_image image;
static pv_options options;
static atomic_int stop;
static atomic_long calls[PV_INTERNAL + 1];

/* Shared by all threads; a place may hold a handle that somebody closed. */
static _Atomic(uint64_t) sessions[PLACES], prompts[PLACES], streams[PLACES], results[PLACES];

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static pv_status seen(pv_status status, const pv_error *error, const char *call)
{
    if (status < 0 || status >= PV_INTERNAL || status == PV_FORKED || status == PV_NO_DEVICE || error->status != status ||
        (status != PV_OK && error->message[0] == 0)) {
        fprintf(stderr, "%s: status %d (%d): %s\n", call, (int)status, (int)error->status, error->message);
        exit(1);
    }
    atomic_fetch_add(&calls[status], 1);
    return status;
}

#define CALL(name, ...) seen(api->name(__VA_ARGS__, &error), &error, #name)

static int32_t sometimes_cancel(void *user, const char *text, size_t bytes)
{
    REQUIRE(strlen(text) == bytes);
    return next(user) % 8 == 0;
}

/* Puts a new handle where another was, which is closed. */
#define REPLACE(close, place, handle)                           \
    do {                                                        \
        uint64_t old = atomic_exchange(place, handle);          \
        CALL(close, old);                                       \
    } while (0)

static void *play(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument * 0x9E3779B97F4A7C15u | 1;
    pv_error error = {.struct_size = sizeof error};
    char text[4096];
    int32_t numbers[64];
    while (!atomic_load(&stop)) {
        uint64_t made = 0;
        size_t count, place = next(&random) % PLACES;
        uint64_t session = atomic_load(&sessions[next(&random) % PLACES]), prompt = atomic_load(&prompts[next(&random) % PLACES]);
        uint64_t stream = atomic_load(&streams[next(&random) % PLACES]), result = atomic_load(&results[next(&random) % PLACES]);
        switch (next(&random) % 18) {
        case 0:
            if (CALL(session_open, engine, next(&random) % 2 ? "dense" : "parvts:keep=4", &made) == PV_OK)
                REPLACE(session_close, &sessions[place], made);
            break;
        case 1:
            if (CALL(prompt_create, engine, NULL, &made) == PV_OK) {
                CALL(prompt_add_image, made, "user", image);
                CALL(prompt_add_text, made, "user", next(&random) % 2 ? "what color is the circle?" : "how many?");
                CALL(prompt_tokens, made, NULL, 0, &count);
                REPLACE(prompt_close, &prompts[place], made);
            }
            break;
        case 2:
            CALL(session_cancel, session);
            break;
        case 3:
            CALL(session_kv_lengths, session, numbers, 64, &count);
            break;
        case 4:
            CALL(session_info, session, text, sizeof text, &count);
            break;
        case 5:
            CALL(session_reset, session);
            break;
        case 6:
            CALL(session_set_policy, session, "parvts:keep=8");
            break;
        case 7:
            if (CALL(stream_open, session, prompt, options, &made) == PV_OK)
                REPLACE(stream_close, &streams[place], made);
            break;
        case 8:
            CALL(stream_next, stream, text, sizeof text, &count);
            break;
        case 9:
            if (CALL(stream_result, stream, &made) == PV_OK)
                REPLACE(result_close, &results[place], made);
            break;
        case 10:
            CALL(result_info, result, text, next(&random) % sizeof text, &count);
            break;
        case 11:
            CALL(result_tokens, result, numbers, next(&random) % 64, &count);
            break;
        case 12: /* of another kind, made up, NULL */
            CALL(session_reset, prompt);
            CALL(result_close, next(&random));
            CALL(session_open, engine, "no such policy", &made);
            CALL(prompt_tokens, prompt, NULL, 5, NULL);
            CALL(tokenize, engine, NULL, numbers, 64, &count);
            break;
        case 13:
            CALL(session_close, session);
            break;
        case 14:
            CALL(tokenize, engine, "the quick brown fox", numbers, 64, &count);
            break;
        default:
            if (CALL(generate, session, prompt, options, sometimes_cancel, &random, &made) == PV_OK)
                REPLACE(result_close, &results[place], made);
            break;
        }
    }
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    REQUIRE(count == 5);
    REQUIRE(parvts_get_api(PV_API_VERSION, &api, NULL) == PV_OK);
    engine = open_engine(arguments[1], 2);
    options = limit_to(4);
    CHECK(api->image_load(engine, arguments[2], NULL, &image, error));
    for (intptr_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, play, (void *)(atoi(arguments[4]) * 1000 + i + 1)) == 0);
    for (int i = 0; i < atoi(arguments[3]) * 1000; i++)
        wait_a_moment();
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    /* What is still there is closed; what somebody closed says so. */
    for (int i = 0; i < PLACES; i++) {
        api->stream_close(atomic_load(&streams[i]), NULL);
        api->session_close(atomic_load(&sessions[i]), NULL);
        api->prompt_close(atomic_load(&prompts[i]), NULL);
        api->result_close(atomic_load(&results[i]), NULL);
    }
    CHECK(api->image_close(image, error));
    CHECK(api->options_close(options, error));
    CHECK(api->engine_close(engine, error));
    long open = open_handles();
    for (int i = 0; i <= PV_INTERNAL; i++)
        printf("%d:%ld ", i, atomic_load(&calls[i]));
    printf("\n");
    if (open != 0) {
        fprintf(stderr, "%ld handles are left\n", open);
        return 1;
    }
    return 0;
}
