package nft

// What nft keeps for itself with a set, NFTNL_UDATA_… of libnftnl: parts of one
// byte for the kind, one for the length, and their contents.
const (
	userByteOrder, userTypeOf = 0, 3 // of a set

	userExpr, userOf                         = 0, 1 // of an expression
	exprPayload, exprMeta, exprConcat        = 7, 9, 13
	userBase, userOffset, userLen            = 2, 3, 4 // of payload, in bits; the first two say that it is raw
	userDescription, userTemplate     uint32 = 0, 0
)

func userPart(kind byte, data []byte) []byte { return append([]byte{kind, byte(len(data))}, data...) }

func userNumber(kind byte, n uint32) []byte { return userPart(kind, Uint32(n)) }

// typeOf says of which fields a set's keys are made.
func typeOf(fields []Field) []byte {
	var parts []byte
	for i, f := range fields {
		kind, data := uint32(exprMeta), userNumber(0, uint32(f.key))
		if f.of == payload {
			kind, data = exprPayload, append(userNumber(0, userDescription), userNumber(1, userTemplate)...)
			data = append(data, userNumber(userBase, uint32(f.key)+1)...)
			data = append(data, userNumber(userOffset, uint32(f.at)*8)...)
			data = append(data, userNumber(userLen, uint32(f.size)*8)...)
		}
		parts = append(parts, userPart(byte(i), append(userNumber(userExpr, kind), userPart(userOf, data)...))...)
	}
	all := append(userNumber(userExpr, exprConcat), userPart(userOf, parts)...)
	return append(userNumber(userByteOrder, 0), userPart(userTypeOf, all)...)
}
