/* CRUD of configuration: orgs, labs, categories, actions, developers, keys,
 * views. */

#ifndef API_CONFIG_H
#define API_CONFIG_H

#include "api_http.h"

#define API_CONFIG_HANDLERS(name)                                             \
    void api_##name##_list(struct api_call *c);                               \
    void api_##name##_create(struct api_call *c);                             \
    void api_##name##_get(struct api_call *c);                                \
    void api_##name##_update(struct api_call *c);                             \
    void api_##name##_delete(struct api_call *c)

API_CONFIG_HANDLERS(org);
API_CONFIG_HANDLERS(lab);
API_CONFIG_HANDLERS(category);
API_CONFIG_HANDLERS(action);
API_CONFIG_HANDLERS(developer);
API_CONFIG_HANDLERS(integration);
API_CONFIG_HANDLERS(key);                  /* delete revokes */
API_CONFIG_HANDLERS(view);

#endif /* API_CONFIG_H */
