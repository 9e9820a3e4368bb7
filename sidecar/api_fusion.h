/*
 * Fusion's calls at their own paths, for callers that know no keys: nginx lets
 * only known addresses pass, the configuration says whose calls they are.
 */

#ifndef API_FUSION_H
#define API_FUSION_H

#include "api_http.h"

/* False: it is none of them.  The path is as it stood in the request line. */
bool api_fusion(struct api_call *c);

#endif /* API_FUSION_H */
