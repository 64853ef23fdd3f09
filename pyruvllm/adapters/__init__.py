"""The memory in the shape that other packages expect: LangChain's vector store, LangGraph's store.

Nothing here needs those packages; what they define is met method by method, and their own classes are returned where they are installed.
"""
