/*
 * How often a passphrase is to be hashed before a file opens (RFC 8018, RFC 7914, RFC 7292 appendix B): the file says
 * so, and nobody else looks.
 */
#include "keyring/x509_key_internal.h"

#include <openssl/err.h>

enum err keyring_key_work_spend(struct keyring_key_work *work, uint64_t iterations)
{
    if (iterations > work->left)
        return ERR_LIMIT;
    work->left -= iterations;
    return ERR_OK;
}

static enum err spend(struct keyring_key_work *work, const ASN1_INTEGER *iterations)
{
    uint64_t number;
    if (iterations == NULL || ASN1_INTEGER_get_uint64(&number, iterations) != 1)
        return ERR_LIMIT;
    return keyring_key_work_spend(work, number);
}

/* The parameters as a structure of `item`; NULL if they are none. */
static void *parameters_of(const X509_ALGOR *algorithm, const ASN1_ITEM *item)
{
    const void *value;
    int type;
    X509_ALGOR_get0(NULL, &type, &value, algorithm);
    return type == V_ASN1_SEQUENCE ? ASN1_item_unpack((const ASN1_STRING *)value, item) : NULL;
}

static int nid_of(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object;
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    return OBJ_obj2nid(object);
}

static enum err for_pbkdf2(struct keyring_key_work *work, const X509_ALGOR *function)
{
    PBKDF2PARAM *parameters = parameters_of(function, ASN1_ITEM_rptr(PBKDF2PARAM));
    enum err err = parameters == NULL ? ERR_MALFORMED : spend(work, parameters->iter);
    PBKDF2PARAM_free(parameters);
    return err;
}

/* Its work is the product of three numbers, in blocks of which each costs about as much as a hash; OpenSSL bounds the
   memory. */
static enum err for_scrypt(struct keyring_key_work *work, const X509_ALGOR *function)
{
    uint64_t cost, size, parallel, product;
    enum err err = ERR_MALFORMED;
    SCRYPT_PARAMS *parameters = parameters_of(function, ASN1_ITEM_rptr(SCRYPT_PARAMS));
    if (parameters != NULL) {
        const bool is_bounded = ASN1_INTEGER_get_uint64(&cost, parameters->costParameter) == 1 &&
                                ASN1_INTEGER_get_uint64(&size, parameters->blockSize) == 1 &&
                                ASN1_INTEGER_get_uint64(&parallel, parameters->parallelizationParameter) == 1 &&
                                !__builtin_mul_overflow(cost, size, &product) &&
                                !__builtin_mul_overflow(product, parallel, &product);
        err = is_bounded ? keyring_key_work_spend(work, product) : ERR_LIMIT;
    }
    SCRYPT_PARAMS_free(parameters);
    return err;
}

static enum err for_pbes2(struct keyring_key_work *work, const X509_ALGOR *algorithm)
{
    PBE2PARAM *parameters = parameters_of(algorithm, ASN1_ITEM_rptr(PBE2PARAM));
    const int function = parameters == NULL ? NID_undef : nid_of(parameters->keyfunc);
    enum err err = parameters == NULL          ? ERR_MALFORMED
                   : function == NID_id_pbkdf2 ? for_pbkdf2(work, parameters->keyfunc)
                   : function == NID_id_scrypt ? for_scrypt(work, parameters->keyfunc)
                                               : ERR_KEY_UNUSABLE;
    PBE2PARAM_free(parameters);
    return err;
}

static enum err for_pbe(struct keyring_key_work *work, const X509_ALGOR *algorithm)
{
    PBEPARAM *parameters = parameters_of(algorithm, ASN1_ITEM_rptr(PBEPARAM));
    enum err err = parameters == NULL ? ERR_MALFORMED : spend(work, parameters->iter);
    PBEPARAM_free(parameters);
    return err;
}

enum err keyring_key_work_for(struct keyring_key_work *work, const X509_ALGOR *algorithm)
{
    enum err err;
    switch (nid_of(algorithm)) {
    case NID_pbes2:
        err = for_pbes2(work, algorithm);
        break;
    case NID_pbe_WithSHA1And128BitRC4:
    case NID_pbe_WithSHA1And40BitRC4:
    case NID_pbe_WithSHA1And3_Key_TripleDES_CBC:
    case NID_pbe_WithSHA1And2_Key_TripleDES_CBC:
    case NID_pbe_WithSHA1And128BitRC2_CBC:
    case NID_pbe_WithSHA1And40BitRC2_CBC:
    case NID_pbeWithMD5AndDES_CBC:
    case NID_pbeWithMD5AndRC2_CBC:
    case NID_pbeWithSHA1AndDES_CBC:
    case NID_pbeWithSHA1AndRC2_CBC:
        err = for_pbe(work, algorithm);
        break;
    default:
        err = ERR_KEY_UNUSABLE;
    }
    ERR_clear_error();
    return err;
}
