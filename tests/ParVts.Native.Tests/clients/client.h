/*
 * What the C clients of the tests share. Memory that the library fills is as large as it must be and not a byte more, so that a checker
 * of memory notices what is written behind it.
 */
#ifndef CLIENT_H
#define CLIENT_H

#define _GNU_SOURCE
#include "parvts.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const pv_api *api;

/* Ends the program where something is not as it must be. */
#define REQUIRE(condition)                                                              \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* Ends the program where a call did not succeed. */
#define CHECK(call)                                                                                    \
    do {                                                                                               \
        pv_error error_ = {.struct_size = sizeof error_};                                              \
        pv_error *error = &error_;                                                                     \
        pv_status status_ = (call);                                                                    \
        if (status_ != PV_OK) {                                                                        \
            fprintf(stderr, "%s:%d: %s: status %d: %s\n", __FILE__, __LINE__, #call, (int)status_, error->message); \
            exit(1);                                                                                   \
        }                                                                                              \
    } while (0)

/* An answer, as far as it is compared. */
struct answer {
    int32_t *tokens;
    size_t count;
    int32_t *lengths;
    size_t layers;
};

typedef pv_status(PV_CALL *numbers_call)(uint64_t, int32_t *, size_t, size_t *, pv_error *);
typedef pv_status(PV_CALL *text_call)(uint64_t, char *, size_t, size_t *, pv_error *);

static inline int32_t *numbers_of(numbers_call call, uint64_t handle, size_t *count)
{
    pv_status status = call(handle, NULL, 0, count, NULL);
    REQUIRE(status == PV_TOO_SMALL || (status == PV_OK && *count == 0));
    int32_t *numbers = malloc(*count * sizeof *numbers);
    CHECK(call(handle, numbers, *count, count, error));
    return numbers;
}

static inline char *text_of(text_call call, uint64_t handle)
{
    size_t count = 0;
    pv_status status = call(handle, NULL, 0, &count, NULL);
    REQUIRE(status == PV_TOO_SMALL || (status == PV_OK && count == 0));
    char *text = malloc(count + 1);
    CHECK(call(handle, text, count + 1, &count, error));
    REQUIRE(strlen(text) == count);
    return text;
}

static inline char *library_info(void)
{
    size_t count = 0;
    REQUIRE(api->info(NULL, 0, &count, NULL) == PV_TOO_SMALL);
    char *json = malloc(count + 1);
    CHECK(api->info(json, count + 1, &count, error));
    return json;
}

/* Handles that are open in this process. */
static inline long open_handles(void)
{
    char *json = library_info();
    const char *found = strstr(json, "\"open_handles\":");
    REQUIRE(found != NULL);
    long count = strtol(found + strlen("\"open_handles\":"), NULL, 10);
    free(json);
    return count;
}

static inline pv_engine open_engine(const char *model, int threads)
{
    pv_options options;
    pv_engine engine;
    CHECK(api->options_create("engine", &options, error));
    CHECK(api->options_set_text(options, "device", "cpu", error));
    CHECK(api->options_set_int(options, "threads", threads, error));
    CHECK(api->engine_open(model, options, &engine, error));
    CHECK(api->options_close(options, error));
    return engine;
}

static inline pv_prompt ask(pv_engine engine, const char *picture, const char *question)
{
    pv_image image;
    pv_prompt prompt;
    CHECK(api->image_load(engine, picture, NULL, &image, error));
    CHECK(api->prompt_create(engine, NULL, &prompt, error));
    CHECK(api->prompt_add_image(prompt, "user", image, error));
    CHECK(api->prompt_add_text(prompt, "user", question, error));
    CHECK(api->image_close(image, error));
    return prompt;
}

static inline pv_options limit_to(int tokens)
{
    pv_options options;
    CHECK(api->options_create("generation", &options, error));
    CHECK(api->options_set_int(options, "max_tokens", tokens, error));
    CHECK(api->options_set_int(options, "ignore_eos", 1, error));
    return options;
}

static inline struct answer answer_of(pv_session session, pv_result result)
{
    struct answer answer;
    answer.tokens = numbers_of(api->result_tokens, result, &answer.count);
    answer.lengths = numbers_of(api->session_kv_lengths, session, &answer.layers);
    return answer;
}

static inline int same(const struct answer *a, const struct answer *b)
{
    return a->count == b->count && a->layers == b->layers && memcmp(a->tokens, b->tokens, a->count * sizeof *a->tokens) == 0 &&
           memcmp(a->lengths, b->lengths, a->layers * sizeof *a->lengths) == 0;
}

static inline void forget(struct answer *answer)
{
    free(answer->tokens);
    free(answer->lengths);
}

static inline void wait_a_moment(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

#endif
